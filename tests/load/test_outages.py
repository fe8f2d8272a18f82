"""A reservation's whole life while something outside is away: each dependency, in each way, for minutes and for hours.

Two reservations are active, three stand in line, one comes meanwhile. When the outage begins one is cancelled, so that
there is something to tear down, to snapshot and to make. Afterwards all start in their order, and come to their end.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from pgfleet.schema.rows.forgotten import forgotten
from worlds.disks import World, assert_sound, for_a_test, servers, world_on
from worlds.fleet import move_clock

MANY = 1_000_000
LEAST_S, HOURS_S = 600, 3 * 3600
LOOKS = 12

Break = Callable[[World], None]


def kubernetes(path: str, **way: Any) -> Break:
    return lambda world: world.box.fault(path, times=MANY, **way)


def ec2(actions: str, **way: Any) -> Break:
    return lambda world: world.aws.fault(actions, times=MANY, **way)


EVERYTHING, OBJECTS = "^/api/", "/(pods|services|configmaps|persistentvolumes|persistentvolumeclaims)"
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "no answer": {"drop": True},
    "500": {"status": 500},
    "503": {"status": 503},
    "408": {"status": 408},
    "429": {"status": 429, "retry_after": 2},
    "401": {"status": 401},
}
REFUSALS: Mapping[str, Mapping[str, Any]] = {
    "403": {"status": 403},
    "500": {"status": 500},
    "no answer": {"drop": True},
}
AWS: Mapping[str, Mapping[str, Any]] = {
    "no answer": {"drop": True},
    "503": {"status": 503, "code": "Unavailable"},
    "throttled": {"status": 503, "code": "RequestLimitExceeded"},
    "expired": {"status": 403, "code": "ExpiredToken"},
}
RIGHTS = {"status": 403, "code": "UnauthorizedOperation"}

OUTAGES: Mapping[str, Break] = {
    **{f"kubernetes, {name}": kubernetes(EVERYTHING, **way) for name, way in ANSWERS.items()},
    **{
        f"kubernetes {calls}, {name}": kubernetes(OBJECTS, method=method, **way)
        for calls, method in (("make", "POST"), ("delete", "DELETE"))
        for name, way in REFUSALS.items()
    },
    **{f"SSH keys, {name}": kubernetes("ssh-keys", **way) for name, way in ANSWERS.items()},
    **{f"EC2, {name}": ec2("(Describe|Create|Delete).*", **way) for name, way in AWS.items()},
    "EC2 make, a right is missing": ec2("Create.*", **RIGHTS),
    "EC2 delete, a right is missing": ec2("Delete.*", **RIGHTS),
}
# Each for minutes, and of each dependency and its calls one for hours.
LASTS = [(name, LEAST_S) for name in OUTAGES]
LASTS += [(name, HOURS_S) for name in {name.partition(",")[0]: name for name in OUTAGES}.values()]


@pytest.fixture(scope="module")
def module_world(server_dsn: str, template: str) -> Iterator[World]:
    with servers() as (box, _), world_on(server_dsn, template, box, breaker_open_s=1) as running:
        yield running


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    yield from for_a_test(module_world)


def reserve(world: World, disk_name: str | None = None) -> str:
    return world.reserve(disk_name, gpu_type="h100", gpu_count=8, duration_hours=72)


def is_active(world: World, row_id: str) -> bool:
    return world.status(row_id) == "active"


def the_next(world: World, line: list[str]) -> str:
    """The first of a line that is active."""
    active: list[str] = world.until(
        lambda: [row_id for row_id in line if is_active(world, row_id)], 120, f"one of {line} active"
    )
    return active[0]


@pytest.mark.parametrize(("outage", "lasts_s"), LASTS)
def test_none_fails_none_is_forgotten_and_the_order_is_kept(world: World, outage: str, lasts_s: float) -> None:
    with_disk, without = reserve(world, "first"), reserve(world)
    world.until(lambda: is_active(world, with_disk) and is_active(world, without), 60, "two active reservations")
    line = [reserve(world, "second"), reserve(world), reserve(world)]
    world.run()

    OUTAGES[outage](world)
    world.cancel(with_disk)
    world.work()
    line.append(reserve(world))
    for _ in range(LOOKS):
        move_clock(world.conn, lasts_s / LOOKS)
        for _ in range(10):
            world.work()
    during = {world.status(row_id) for row_id in (without, *line)}
    world.box.clear_faults()
    world.aws.clear_faults()

    world.cancel(without)
    for _ in line:
        world.cancel(the_next(world, line))
    all_of_them = [with_disk, without, *line]
    world.until(lambda: all(world.reservation(row_id)["reservation_ended"] for row_id in all_of_them), 120, "the end")

    assert during <= {"pending", "queued", "preparing", "active"}
    assert {world.status(row_id) for row_id in all_of_them} == {"cancelled"}
    assert world.letters == []
    assert world.all("select from public.outages where ended_at is null") == []
    assert [found for machine in ("reservation", "disk") for found in forgotten(world.conn, machine)] == []
    # Without volumes, whoever wants none passes those who do.
    passed = [line[0]] if outage.startswith("EC2") else []
    assert [row_id for row_id in admitted(world) if row_id not in passed] == [
        row_id for row_id in all_of_them if row_id not in passed
    ]
    assert (world.box.state()["objects"]["pods"], world.volumes) == (0, {})
    assert world.snapshots("first")[-1]["status"] == "completed"
    assert_sound(world.conn)


def admitted(world: World) -> list[str]:
    """In the order of their first admission; those of one commit as they stood in line."""
    query = (
        "select h.row_id from public.status_history h join public.reservations r on r.reservation_id = h.row_id"
        " where h.machine = 'reservation' and h.to_status = 'preparing'"
        " group by h.row_id, r.waiting_since, r.line_number"
        " order by min(h.at), r.waiting_since, r.line_number"
    )
    return [str(row["row_id"]) for row in world.all(query)]
