"""A box and a database with a disk worker and a reservation worker, for the tests of a module."""

from collections.abc import Iterator

import pytest

from worlds.disks import STEADY, World, for_a_test, servers, world_on


@pytest.fixture(scope="module")
def module_world(server_dsn: str, template: str) -> Iterator[World]:
    with servers() as (box, _), world_on(server_dsn, template, box, **STEADY) as running:
        yield running


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    yield from for_a_test(module_world)
