"""A world of users and Hopsworks clusters for the modules that ask for one, as it was at first for every test."""

from collections.abc import Iterator

import pytest

from worlds.assignments import World, for_a_test, world_in


@pytest.fixture(scope="module")
def module_world(server_dsn: str, template: str) -> Iterator[World]:
    with world_in(server_dsn, template) as running:
        yield running


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    yield from for_a_test(module_world)
