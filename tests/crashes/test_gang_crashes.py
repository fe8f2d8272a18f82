"""A worker that is killed while it makes the four pods of a gang: in the end all four have run, or none is left."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crashes.nursery import Nursery
from crashes.test_reservation_crashes import QUICK, SHORT, all_ended, assert_nothing_left
from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.workers.reservation.machine import KIND
from worlds.fleet import Connection, move_clock, settings_for, until, worker_environment, worker_on
from worlds.reservations import gang, moments, rows_of

PODS = "pgfleet.workers.clients.kubernetes.pods:Pods"
GANGS = "pgfleet.workers.clients.kubernetes.gangs.client:Gangs"
POINTS = [
    (f"{GANGS}.make", "before", 1),
    (f"{GANGS}._made_secret", "before", 1),
    (f"{GANGS}._made_secret", "after", 1),
    (f"{GANGS}._let_in", "after", 1),
    *((f"{PODS}.create", when, nth) for nth in (1, 2, 3, 4) for when in ("before", "after")),
    *((f"{PODS}.create_service", "after", nth) for nth in (1, 2, 3, 4)),
    *((f"{PODS}.create_keys", "after", nth) for nth in (1, 2, 3, 4)),
    *((f"{PODS}.delete", "after", nth) for nth in (1, 2, 3, 4)),
    ("pgfleet.workers.reservation.gang.starting:hand_out", "after", 4),
    ("psycopg:Connection.commit", "before", 2),
    ("psycopg:Connection.commit", "after", 2),
]


@pytest.fixture(scope="module")
def four_nodes() -> Iterator[Box]:
    nodes = ["h100:4x4"]
    with sandbox.spawned(nodes, ready_delay_s=0.1, termination_delay_s=0.05, scheduling_retry_s=0.1) as box:
        yield box


@pytest.mark.parametrize(("point", "when", "nth"), POINTS)
def test_a_gang_runs_with_all_its_pods_or_leaves_none(
    dsn: str, conn: Connection, four_nodes: Box, forks: Nursery, tmp_path: Path, point: str, when: str, nth: int
) -> None:
    ids = gang(conn, 4, duration_hours=SHORT)
    marker, environment = tmp_path / "killed", worker_environment(dsn, four_nodes, **QUICK)
    with forks.worker("pgfleet.workers.reservation", environment, marker, point, when, nth):
        until(marker.exists, what=f"death {when} {point}")

    # What it had in hand is free again.
    move_clock(conn, QUICK["lease_s"] + 1)
    with worker_on(KIND, settings_for(dsn, four_nodes, **QUICK)) as worker:
        worker.run_until(lambda: all_ended(conn, len(ids)))

    assert {row["status"] for row in rows_of(conn, ids)} == {"expired"}
    assert moments(conn, ids) == {"pending": 1, "preparing": 1, "active": 1, "expired": 1}
    assert conn.execute("select count(*) from public.dead_letters").fetchone() == (0,)
    assert_nothing_left(conn, four_nodes)
    until(lambda: not any(four_nodes.state()["objects"][kind] for kind in ("configmaps", "secrets", "networkpolicies")))
