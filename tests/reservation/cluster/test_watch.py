"""The watch: what happens in the cluster gives rows their turn at once, and rows whose pods are well ask nobody."""

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client
from psycopg.types.json import Jsonb

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.tickets import NUDGE
from pgfleet.workers.clients.kubernetes.watch.seen import fingerprint
from pgfleet.workers.reservation.machine import KIND
from worlds.fleet import Connection, Worker, row_of, send, settings_for, until, worker_on
from worlds.outside.kubernetes import NS, Api, connected
from worlds.reservations import QUEUE, active, create, gang, reach, rows_of, status_of

# Polls are so far apart that what a test waits for comes by the watch alone.
RARELY: dict[str, Any] = {"pod_poll_s": 600, "watch_s": 600, "teardown_poll_s": 600, "line_recheck_s": 600}
# What the watch itself may ask meanwhile: streams that are opened again, and a look.
ITS_OWN = 25


@pytest.fixture
def watching(dsn: str, box: Box) -> Iterator[Worker]:
    with watching_worker(dsn, box) as worker:
        yield worker


def watching_worker(dsn: str, box: Box) -> Any:
    return worker_on(KIND, settings_for(dsn, box, **RARELY), watches=True)


@pytest.fixture
def cluster(box: Box) -> Iterator[Api]:
    with connected(box) as api:
        yield client.CoreV1Api(api)


def pods(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute("select pod_name, is_ready, gone_at is not null from public.gpu_pods order by 1").fetchall()


def nudges(conn: Connection) -> int:
    row = conn.execute(
        "select count(*) from pgmq.q_gpu_reservations where (message ->> 'ticket')::int = %s", (NUDGE,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def in_touch(worker: Worker) -> bool:
    seen = worker.running.tools.pods.seen
    return all(things.is_in_touch for things in (seen.pods, seen.services, seen.nodes))


def test_a_pod_that_is_ready_makes_its_row_active_without_a_poll(conn: Connection, watching: Worker) -> None:
    row = reach(conn, watching, create(conn), "active")

    until(lambda: pods(conn) == [(row["pod_name"], True, False)], within_s=10)


def test_a_row_becomes_active_although_another_worker_saw_its_pod_first(
    conn: Connection, watching: Worker, dsn: str, box: Box
) -> None:
    with watching_worker(dsn, box):  # sees, and answers no message
        rows = [create(conn, gpu_count=1) for _ in range(6)]

        watching.run_until(lambda: {status_of(conn, row_id) for row_id in rows} == {"active"})


def test_rows_whose_pods_are_well_cost_no_requests(conn: Connection, watching: Worker, box: Box) -> None:
    rows = [active(conn, watching, gpu_count=1) for _ in range(5)]
    until(lambda: in_touch(watching), within_s=10)
    watching.run()
    before = box.state()["requests"]

    for row_id in rows * 4:
        send(conn, QUEUE, {"action": "advance", "reservation_id": row_id, "ticket": NUDGE})
        watching.run()

    assert box.state()["requests"] - before <= ITS_OWN


def test_without_a_watch_the_api_server_is_asked(conn: Connection, worker: Worker, box: Box) -> None:
    row_id = active(conn, worker)
    before = box.state()["requests"]

    send(conn, QUEUE, {"action": "advance", "reservation_id": row_id, "ticket": NUDGE})
    worker.run()

    assert box.state()["requests"] == before + 2, "its pod, and its service"


def test_a_pod_that_is_gone_is_seen_at_once(conn: Connection, watching: Worker, cluster: Api) -> None:
    row = row_of(conn, active(conn, watching))

    cluster.delete_namespaced_pod(row["pod_name"], NS)

    watching.run_until(lambda: pods(conn)[0][2])
    watching.run_until(lambda: "its pod" in row_of(conn, row["reservation_id"])["current_detailed_status"])


@pytest.mark.parametrize("which", ["ssh", "headless"])
def test_a_service_that_goes_before_its_pod_gives_the_row_a_turn(
    conn: Connection, watching: Worker, cluster: Api, which: str
) -> None:
    ids = gang(conn, 2)
    watching.run_until(lambda: all(row["status"] == "active" for row in rows_of(conn, ids)) and rows_of(conn, ids))
    row = rows_of(conn, ids)[0]
    until(lambda: in_touch(watching), within_s=10)
    watching.run()

    cluster.delete_namespaced_service(f"{row['pod_name']}-{which}", NS)

    until(lambda: nudges(conn) == 1, within_s=10)


def a_pod(row_id: str, fingerprint: str, version: int, **more: Any) -> dict[str, Any]:
    own = {"uid": "uid-1", "name": "gpu-dev-1", "reservation_id": row_id, "gpu_type": "h100", "gpus": 2}
    state = {"phase": "Running", "is_ready": True, "is_deleting": False, "node_name": "h100-1"}
    return {**own, **state, "fingerprint": fingerprint, "version": str(version), **more}


def see(conn: Connection, *seen: dict[str, Any], listed_at: Any = None) -> None:
    conn.execute("select public.see_pods(%s, 'gpu-dev', %s)", (Jsonb(list(seen)), listed_at))


@pytest.fixture
def waiting(conn: Connection) -> str:
    """A row that nobody works on."""
    conn.execute(
        "insert into public.reservations"
        " (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)"
        " values ('r-1', 'ada', 'pending', 'h100', 2, 1, now())"
    )
    return "r-1"


def test_of_many_workers_that_see_a_change_one_gives_the_turn(conn: Connection, waiting: str) -> None:
    for _ in range(3):
        see(conn, a_pod(waiting, "a", 10))
    for _ in range(3):
        see(conn, a_pod(waiting, "b", 11))

    assert nudges(conn) == 2


def test_a_worker_that_lags_behind_writes_nothing(conn: Connection, waiting: str) -> None:
    see(conn, a_pod(waiting, "b", 11))

    see(conn, a_pod(waiting, "a", 9, is_ready=False))

    assert pods(conn) == [("gpu-dev-1", True, False)]
    assert nudges(conn) == 1


def test_a_list_overwrites_what_was_seen_before_it_and_removes_what_is_gone(conn: Connection, waiting: str) -> None:
    see(conn, a_pod(waiting, "b", 1_000), a_pod(waiting, "c", 1_001, uid="uid-2", name="gpu-dev-2"))
    now = conn.execute("select public.fleet_now()").fetchone()
    assert now is not None

    # The cluster was brought back from a backup: its versions are small again.
    see(conn, a_pod(waiting, "a", 5, is_ready=False), listed_at=now[0])

    assert pods(conn) == [("gpu-dev-1", False, False), ("gpu-dev-2", True, True)]


def test_what_was_seen_after_a_list_was_begun_is_not_gone(conn: Connection, waiting: str) -> None:
    now = conn.execute("select public.fleet_now()").fetchone()
    assert now is not None
    see(conn, a_pod(waiting, "a", 10))

    see(conn, listed_at=now[0])

    assert pods(conn) == [("gpu-dev-1", True, False)]


def test_what_one_list_has_seen_gone_an_older_one_does_not_bring_back(conn: Connection, waiting: str) -> None:
    see(conn, a_pod(waiting, "a", 10))
    begun = [conn.execute("select public.fleet_now()").fetchone() for _ in range(2)]
    older, newer = (row[0] for row in begun if row)
    see(conn, listed_at=newer)

    see(conn, a_pod(waiting, "a", 10), listed_at=older)

    assert pods(conn) == [("gpu-dev-1", True, True)]


def test_a_pod_that_was_seen_to_end_is_asked_for_since_somebody_may_have_deleted_it(
    conn: Connection, worker: Worker, box: Box, cluster: Api
) -> None:
    """Else one that was refused would be counted as refused at each look, until the watch says that it is gone."""
    name = row_of(conn, active(conn, worker))["pod_name"]
    pods = worker.running.tools.pods
    cluster.patch_namespaced_pod_status(name, NS, {"status": {"phase": "Failed", "reason": "OutOfcpu"}})
    seen = pods.find(name)
    pods.seen.pods.in_touch()
    pods.seen.pods.put(seen)
    cluster.delete_namespaced_pod(name, NS, grace_period_seconds=0)

    assert seen.ended is not None
    assert pods.look(name, fingerprint(seen)) is None
