"""Assignment workers that are killed: every user ends with one account, where the row says (I7, I11, I12)."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.workers.assignment.machine import KIND
from worlds.assignments import (
    QUEUE,
    accounts,
    add_cluster,
    add_users,
    ask,
    assert_sound,
    assignment,
    letters,
    outage,
    status_of,
)
from worlds.fleet import Connection, Worker, forked_worker, move_clock, new_id, send, settings_for, until, worker_on

LEASE_S = 5
QUICK: dict[str, Any] = {"lease_s": LEASE_S, "backoff_s": 0.1, "effect_threads": 4}
THREE = ["auth0|ada", "auth0|bob", "auth0|cyd"]
FOURTH = "auth0|dan"
ENABLED, DISABLED = 2, 3
MODULE = "pgfleet.workers.assignment"


@dataclass(frozen=True)
class World:
    """Three users, and a fourth for whom the first cluster has no seat; the second is there for a drain."""

    conn: Connection
    box: Box
    worker: Worker
    first: str
    first_id: str

    @property
    def second(self) -> str:
        return f"{self.first}-second"

    def ask_all(self, action: str, *users: str, **fields: Any) -> None:
        for user in users:
            ask(self.conn, action, user, **fields)

    def server(self, name: str) -> dict[str, dict[str, Any]]:
        """The accounts of a server, by user."""
        return {account["subject"]: account for account in accounts(self.box, name).values()}


def asked(world: World) -> None:
    world.ask_all("assign", *THREE, FOURTH)


def in_line(world: World) -> None:
    """Nothing is due but the look at the line: tickets, which are due in a second, come late enough for any worker."""
    _before_line(world)
    late = "update pgmq.q_cluster_assignments set vt = vt + interval '50 seconds' where message ? 'ticket'"
    world.conn.execute(late)


def _before_line(world: World) -> None:
    asked(world)
    run_up_to(world, action="admit")


def seated(world: World) -> None:
    """Nothing is due but the three tickets; the fourth has been told why he waits."""
    _before_line(world)
    move_clock(world.conn, 2)
    run_up_to(world, action="advance", ticket=2)


def run_up_to(world: World, **wanted: Any) -> None:
    """Answer one message after the other, until the next one is as wanted."""
    while not wanted.items() <= next_due(world.conn).items():
        world.worker.run_once(1)


def next_due(conn: Connection) -> dict[str, Any]:
    query = "select message from pgmq.q_cluster_assignments where vt <= public.fleet_now() order by vt, msg_id limit 1"
    row = conn.execute(query).fetchone()
    assert row is not None, queued(conn)
    message: dict[str, Any] = row[0]
    return message


def active(world: World) -> None:
    seated(world)
    world.worker.run()


def coming_back(world: World) -> None:
    """Their accounts are there, but deactivated; and they pay now."""
    active(world)
    world.conn.execute("update hopsworks.hopsworks_clusters set max_users = 4")
    world.worker.run_until(lambda: status_of(world.conn, FOURTH) == "active")
    world.ask_all("release", *THREE, reason="holidays")
    world.worker.run()
    assert {world.server(world.first)[user]["status"] for user in THREE} == {DISABLED}
    world.conn.execute("update hopsworks.users set stripe_customer_id = 'cus_1' where id = any(%s)", [THREE])
    world.ask_all("assign", *THREE)
    world.worker.run_until(lambda: statuses(world) == {"creating_user"})


def leaving(world: World) -> None:
    active(world)
    world.ask_all("release", *THREE[:2], reason="left the company")


def left(world: World) -> None:
    leaving(world)
    world.worker.run_until(lambda: statuses(world) == {"released", "active"})


def silent(world: World) -> None:
    """The server did not answer for a while; the probe is due."""
    seated(world)
    world.box.fault(f"/hopsworks/{world.first}/", status=503, times=1000)
    world.worker.run_until(lambda: outage(world.conn, world.first_id))
    move_clock(world.conn, 1)
    world.worker.run()
    world.box.clear_faults()
    move_clock(world.conn, 30)


def draining(world: World) -> None:
    active(world)
    _drain(world)


def half_made(world: World) -> None:
    """Accounts were made on the first cluster, and nobody was told."""
    seated(world)
    for user in THREE:
        local = user.rpartition("|")[2]
        more = {"accountType": "REMOTE_ACCOUNT_TYPE", "maxNumProjects": 1, "subject": user}
        world.box.hopsworks_put(world.first, f"{local}@example.com", **more)
    _drain(world)


def _drain(world: World) -> None:
    world.conn.execute("update hopsworks.hopsworks_clusters set status = 'maintenance'")
    add_cluster(world.conn, world.box, world.second, seats=4)
    world.worker.run_until(lambda: status_of(world.conn, FOURTH) == "active")
    send(world.conn, QUEUE, {"action": "drain", "cluster_id": world.first_id})


def statuses(world: World) -> set[str | None]:
    return {status_of(world.conn, user) for user in THREE}


def queued(conn: Connection) -> list[dict[str, Any]]:
    query = "select message || jsonb_build_object('due', vt, 'claims', read_ct) from pgmq.q_cluster_assignments"
    return [row[0] for row in conn.execute(query)]


CLAIM = "pgfleet.schema.queue.claims:claim"
WORK = "pgfleet.workers.runtime.serve:work"
CHANGED = "pgfleet.workers.runtime.settle:_change_rows"
SENT = "pgfleet.workers.runtime.settle:_send"
JUDGED = "pgfleet.workers.runtime.settle:_is_all_written"
COMMITTED = "pgfleet.workers.runtime.settle:_try"
LOOK_UP = "pgfleet.workers.clients.hopsworks.client:Hopsworks.find"
POST = "pgfleet.workers.clients.hopsworks.client:Hopsworks._create"
PUT = "pgfleet.workers.clients.hopsworks.client:Hopsworks.set_enabled"
PUT_PROJECTS = "pgfleet.workers.clients.hopsworks.client:Hopsworks.set_max_projects"
PROBE = "pgfleet.workers.clients.hopsworks.client:Hopsworks.probe"

# What is in the queue; where the worker dies, and at which call; what one of the three is by then.
POINTS: list[tuple[Callable[[World], None], str, str, int, str | None]] = [
    (asked, CLAIM, "after", 1, None),
    (asked, WORK, "before", 1, None),
    (asked, JUDGED, "after", 1, None),
    (asked, COMMITTED, "after", 1, "pending"),
    (in_line, CHANGED, "after", 1, "pending"),
    (in_line, JUDGED, "after", 1, "pending"),
    (in_line, COMMITTED, "after", 1, "creating_user"),
    (seated, CLAIM, "after", 1, "creating_user"),
    (seated, LOOK_UP, "before", 1, "creating_user"),
    (seated, LOOK_UP, "after", 1, "creating_user"),
    (seated, POST, "before", 1, "creating_user"),
    (seated, POST, "after", 1, "creating_user"),
    (seated, SENT, "after", 1, "creating_user"),
    (seated, JUDGED, "after", 1, "creating_user"),
    (seated, COMMITTED, "after", 1, "active"),
    (coming_back, PUT, "before", 1, "creating_user"),
    (coming_back, PUT, "after", 1, "creating_user"),
    (coming_back, PUT_PROJECTS, "before", 1, "creating_user"),
    (coming_back, PUT_PROJECTS, "after", 1, "creating_user"),
    (leaving, JUDGED, "after", 1, "active"),
    (leaving, COMMITTED, "after", 1, "released"),
    (left, PUT, "before", 1, "released"),
    (left, PUT, "after", 1, "released"),
    (silent, PROBE, "before", 1, "creating_user"),
    (silent, PROBE, "after", 1, "creating_user"),
    (silent, JUDGED, "after", 1, "creating_user"),
    (silent, COMMITTED, "after", 1, "creating_user"),
    (draining, JUDGED, "after", 1, "active"),
    (draining, COMMITTED, "after", 1, "pending"),
    (draining, POST, "after", 1, "creating_user"),
    (draining, PUT, "after", 1, "pending"),
    (half_made, JUDGED, "after", 1, "creating_user"),
    (half_made, COMMITTED, "after", 1, "creating_user"),
    (half_made, PUT, "after", 1, "creating_user"),
]


def name_of(value: object) -> str | None:
    """`leaving`, `Connection.commit`, `after`."""
    if callable(value):
        return str(getattr(value, "__name__", value))
    return value.rpartition(":")[2] if isinstance(value, str) else None


@pytest.fixture(scope="module")
def other_process_box() -> Iterator[Box]:
    with sandbox.spawned() as box:
        yield box


@pytest.fixture
def world(dsn: str, conn: Connection, other_process_box: Box) -> Iterator[World]:
    # No sweep repairs what a death has broken.
    conn.execute("update public.periodic set next_at = 'infinity'")
    first = f"first-{new_id()[:8]}"
    first_id = add_cluster(conn, other_process_box, first, seats=3)
    add_users(conn, *THREE, FOURTH)
    with worker_on(KIND, settings_for(dsn, **QUICK)) as worker:
        yield World(conn, other_process_box, worker, first, first_id)


@pytest.mark.parametrize(("prepare", "point", "when", "nth", "left_as"), POINTS, ids=name_of)
def test_a_worker_killed_at_any_point_loses_nobody_and_makes_no_account_twice(
    dsn: str,
    world: World,
    tmp_path: Path,
    prepare: Callable[[World], None],
    point: str,
    when: str,
    nth: int,
    left_as: str | None,
) -> None:
    prepare(world)
    marker = tmp_path / "killed"
    with forked_worker(dsn, MODULE, marker, point, when, nth, **QUICK) as doomed:
        doomed.join(30)
        assert doomed.exitcode == -signal.SIGKILL, f"it did not come to {point}: {queued(world.conn)}"
    assert marker.exists()
    assert left_as in statuses(world)

    # Its leases end, and whoever waited for something looks again.
    move_clock(world.conn, LEASE_S + 60)
    with forked_worker(dsn, MODULE, **QUICK):
        wait_for_quiet(world.conn)
    # Old tickets, which their rows no longer wait for, go when they are due.
    move_clock(world.conn, 61)
    world.worker.run()

    assert letters(world.conn) == []
    assert_sound(world.conn)
    for user in (*THREE, FOURTH):
        assert_right(world, user, prepare)
    assert world.box.hopsworks_state(world.first)["double_creations"] == 0


# All that is not for later; a lease is not so long.
UNQUIET = "select count(*) from pgmq.q_cluster_assignments where vt < public.fleet_now() + interval '10 seconds'"


def wait_for_quiet(conn: Connection) -> None:
    try:
        until(lambda: conn.execute(UNQUIET).fetchone() == (0,), within_s=30, what="quiet")
    except AssertionError as late:
        raise AssertionError(f"{late}; {queued(conn)}") from None


def assert_right(world: World, user: str, prepare: Callable[[World], None]) -> None:
    """The row is in its last state, says what the server says, and no other account of the user can log in."""
    row = assignment(world.conn, user)
    assert row["status"] == expected(prepare, user), row
    assert len([body for body in queued(world.conn) if body.get("user_id") == user]) == (row["status"] == "pending")
    moved = prepare in (draining, half_made)
    on_first = world.server(world.first).get(user)
    on_second = world.server(world.second).get(user) if moved else None
    here, elsewhere = (on_second, on_first) if moved else (on_first, on_second)
    if row["status"] == "pending":
        assert (here, elsewhere) == (None, None)
        return
    assert here is not None
    assert here["status"] == (ENABLED if row["status"] == "active" else DISABLED)
    assert row["hopsworks_username"] == here["username"]
    assert elsewhere is None or elsewhere["status"] == DISABLED
    assert (elsewhere is not None) == (moved and user in THREE)
    if row["status"] == "active":
        assert str(row["hopsworks_cluster_id"]) == cluster_ids(world.conn)[world.second if moved else world.first]
        assert (row["hopsworks_user_id"], row["max_projects"]) == (here["id"], here["maxNumProjects"])
        assert here["maxNumProjects"] == (5 if prepare is coming_back and user in THREE else 1)


def expected(prepare: Callable[[World], None], user: str) -> str:
    if user == FOURTH:
        return "pending" if prepare in (asked, in_line, seated, silent) else "active"
    return "released" if prepare in (leaving, left) and user in THREE[:2] else "active"


def cluster_ids(conn: Connection) -> dict[str, str]:
    return dict(conn.execute("select name, id::text from hopsworks.hopsworks_clusters").fetchall())
