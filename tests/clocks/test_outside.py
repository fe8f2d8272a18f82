"""All clocks outside are 20 minutes off, or ours is put ahead or back, as by a promotion: nothing moves by it."""

from collections.abc import Callable

import pytest

from pgfleet.workers.clients.aws import ec2
from worlds.disks import TYPE, World
from worlds.fleet import BROKEN_HISTORIES, WRONG_COUNTS, move_clock, new_id

# How far our clock is ahead of those outside; below 0, behind.
APART_S = [1200, -1200]


def set_apart(world: World, apart_s: float) -> None:
    """Ours is put ahead, of all that is outside; or the clocks of AWS and of the kubelets are put ahead of ours."""
    move_clock(world.conn, max(apart_s, 0))
    world.aws.put_clock_ahead(max(-apart_s, 0))
    for number in (1, 2):
        world.box.node(f"{TYPE}-{number}", clock_s=max(-apart_s, 0))


def sound(world: World) -> None:
    assert world.letters == []
    assert world.conn.execute(BROKEN_HISTORIES).fetchall() == []
    assert world.conn.execute(WRONG_COUNTS).fetchall() == []
    assert world.all("select * from public.disk_quarantine") == []


@pytest.mark.parametrize("apart_s", APART_S)
def test_a_reservation_with_a_disk_lives_its_life(world: World, apart_s: float) -> None:
    set_apart(world, apart_s)
    world.create()

    row_id = world.reserve()
    world.until(lambda: world.reservation(row_id)["status"] == "active", what="its pod")
    world.sweep("reconcile")
    row = world.reservation(row_id)
    world.cancel(row_id)
    world.over(row_id)
    world.until(lambda: [each["status"] for each in world.snapshots()] == ["completed"], what="its snapshot")

    assert (row["expires_at"] - row["launched_at"]).total_seconds() == row["duration_hours"] * 3600
    assert world.volumes == {}
    sound(world)


@pytest.mark.parametrize("apart_s", APART_S)
def test_what_another_worker_has_made_a_moment_ago_is_left_alone(world: World, apart_s: float) -> None:
    disk = world.create()
    set_apart(world, apart_s)
    world.aws.make_volume(tags={ec2.DISK: str(disk["disk_id"]), ec2.ATTACHMENT: "1"})
    world.aws.make_snapshot(tags={ec2.DISK: new_id(), ec2.SNAPSHOT: new_id()})

    world.sweep("reconcile")

    assert (len(world.volumes), len(world.ebs_snapshots)) == (1, 1)
    sound(world)


def on_its_way(world: World, row_id: str) -> bool:
    return bool(world.reservation(row_id)["status"] == "preparing")


def is_active(world: World, row_id: str) -> bool:
    return bool(world.reservation(row_id)["status"] == "active")


@pytest.mark.parametrize("apart_s", APART_S)
@pytest.mark.parametrize("reached", [on_its_way, is_active])
def test_our_clock_that_is_put_ahead_or_back_loses_and_doubles_nothing(
    world: World, apart_s: float, reached: Callable[[World, str], bool]
) -> None:
    # So that it is not behind the one by which PGMQ sends.
    move_clock(world.conn, 1200)
    world.create()
    row_id = world.reserve()
    world.until(lambda: reached(world, row_id), what="its time to jump")

    move_clock(world.conn, apart_s)
    world.run()
    # What was due by the clock of before waits for that time: it is late, and neither lost nor doubled.
    world.pass_time(max(-apart_s, 0))
    world.until(lambda: is_active(world, row_id), what="its pod")
    volumes = list(world.volumes)
    world.cancel(row_id)
    world.over(row_id)
    world.until(lambda: [each["status"] for each in world.snapshots()] == ["completed"], what="its snapshot")

    assert len(volumes) == 1
    assert world.volumes == {}
    sound(world)
