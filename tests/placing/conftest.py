"""A session of the API's login beside the test's own."""

from collections.abc import Iterator

import pytest

from worlds.database import Connection
from worlds.served import serving_on


@pytest.fixture
def serving(dsn: str) -> Iterator[Connection]:
    with serving_on(dsn) as conn:
        yield conn
