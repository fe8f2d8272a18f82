"""A disk's life: made, attached, released, and found again with all that it held."""

from collections.abc import Iterator

import pytest
from disks import World, for_a_test, history, servers, world_on


@pytest.fixture(scope="module")
def module_world(server_dsn: str, template: str) -> Iterator[World]:
    with servers() as (box, _), world_on(server_dsn, template, box) as running:
        yield running


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    yield from for_a_test(module_world)


def test_a_disk_is_made_without_a_volume(world: World) -> None:
    disk = world.create(size_gb=50)

    assert (disk["status"], disk["size_gb"], disk["operation_status"]) == ("available", 50, "completed")
    assert world.volumes == {}


def test_a_disk_follows_its_user_from_reservation_to_reservation(world: World) -> None:
    world.create()

    first = world.active()
    volume_id = world.disk()["ebs_volume_id"]
    world.cancel(first)
    world.over(first)
    second = world.active()

    (snapshot,) = world.snapshots()
    assert snapshot["status"] == "completed"
    assert snapshot["ebs_volume_id"] == volume_id
    (volume,) = world.volumes.values()
    assert volume["snapshot"] == snapshot["ebs_snapshot_id"]
    assert world.disk()["reservation_id"] == second
    assert history(world.conn, world.disk()["disk_id"]) == [
        "creating",
        "available",
        "attached",
        "available",
        "attached",
    ]


def test_t_filled(world: World) -> None:
    world.create()
    world.filled()


def test_t_filled2(world: World) -> None:
    world.create()
    world.filled(times=3)


def test_t_hist(world: World) -> None:
    world.create()
    world.used()
