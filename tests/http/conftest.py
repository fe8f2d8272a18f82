"""The HTTP API on a database of its own."""

from collections.abc import Iterator

import pytest

from worlds.api.server import Api, api_on


@pytest.fixture
def api(dsn: str) -> Iterator[Api]:
    with api_on(dsn) as running:
        yield running
