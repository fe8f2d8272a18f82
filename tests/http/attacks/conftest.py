"""One server for all tests of a module: what they send is refused, or is looked for by its own id."""

from collections.abc import Iterator

import pytest

from worlds.api.server import Api, api_on
from worlds.database import fresh_database


@pytest.fixture(scope="module")
def shared(server_dsn: str, template: str) -> Iterator[Api]:
    with fresh_database(server_dsn, template) as dsn, api_on(dsn) as running:
        yield running
