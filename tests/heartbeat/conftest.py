"""A database for each module, with a heart in it that is as new for every test."""

from collections.abc import Iterator

import pytest

from worlds.database import fresh_database
from worlds.heartbeats import Heart, heart_in


@pytest.fixture(scope="module")
def module_heart(server_dsn: str, template: str) -> Iterator[Heart]:
    """One database for all."""
    with fresh_database(server_dsn, template) as dsn, heart_in(dsn) as running:
        yield running


@pytest.fixture
def heart(module_heart: Heart) -> Heart:
    return module_heart.clean()
