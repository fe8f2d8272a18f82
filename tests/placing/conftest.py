"""A session of the API's login beside the test's own."""

from collections.abc import Iterator

import pytest

from worlds.api.login import serving_on
from worlds.database import Connection


@pytest.fixture
def serving(dsn: str) -> Iterator[Connection]:
    with serving_on(dsn) as conn:
        yield conn
