"""Reservations that have ended and are not gone: held, said everywhere, and let go of by force."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg.rows import dict_row

from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.workers.reservation.machine import KIND
from worlds.disks import World
from worlds.fleet import Connection, Worker, assert_sound, move_clock, new_id, row_of, send, settings_for, worker_on
from worlds.reservations import QUEUE, active, ask, create, ended, live, reach, status_of

# A kubelet that does not answer: what it was told to end goes on for longer than a test takes.
PODS = r"/namespaces/gpu-dev/pods"
SILENT: dict[str, Any] = {"ready_delay_s": 0.02, "termination_delay_s": 600, "scheduling_retry_s": 0.05}


@pytest.fixture
def box() -> Iterator[Box]:
    with sandbox.running(["h100:2x8"], **SILENT) as running:
        yield running


@pytest.fixture
def worker(dsn: str, box: Box) -> Iterator[Worker]:
    # One look at a time, so that the clock says when the next one is.
    with worker_on(KIND, settings_for(dsn, box, teardown_poll_s=2)) as running:
        yield running


def stuck(conn: Connection) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from public.stuck_reservations order by reservation_id").fetchall()


def looks(conn: Connection, worker: Worker, within_s: int) -> int:
    """How often the API is asked while so much time goes by, a second at a time."""
    asked = 0
    for _ in range(within_s):
        move_clock(conn, 1)
        asked += worker.run() > 0
    return asked


def force(conn: Connection, row_id: str) -> bool:
    row = conn.execute("select public.release_by_force(%s)", (row_id,)).fetchone()
    assert row is not None
    return bool(row[0])


def in_time(world: World, condition: Callable[[], Any]) -> None:
    """Let five seconds go by until something is so."""
    for _ in range(100):
        if condition():
            return
        world.later(5)
    raise AssertionError("it did not come true")


def held(conn: Connection, worker: Worker, **fields: Any) -> str:
    """A reservation that was cancelled on a node that does not answer, an hour ago."""
    row_id = active(conn, worker, **fields)
    ask(conn, "cancel", row_id)
    reach(conn, worker, row_id, "cancelled")
    worker.run()
    move_clock(conn, 3600)
    worker.run()
    return row_id


def test_what_its_teardown_waits_for_is_in_the_row(conn: Connection, worker: Worker, box: Box) -> None:
    row = row_of(conn, held(conn, worker))

    assert row["held_by"].startswith(f"its pod {row['pod_name']} on node h100-")
    assert row["held_by"].endswith("is terminating")
    assert row["gpus_held"] == 2
    assert box.state()["objects"]["pods"] == 1


def test_one_that_is_not_gone_after_ten_minutes_is_stuck(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)
    reach(conn, worker, row_id, "cancelled")
    move_clock(conn, 590)
    worker.run()
    assert stuck(conn) == []

    move_clock(conn, 11)
    (found,) = stuck(conn)

    assert (found["reservation_id"], found["gpus_held"]) == (row_id, 2)
    assert " is terminating since " in found["waits_for"]


def test_a_finalizer_that_keeps_its_pod_is_named(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    pods = worker.running.tools.pods
    kept = {"metadata": {"finalizers": ["example.org/keeps"]}}
    pods.api.patch_namespaced_pod(row_of(conn, row_id)["pod_name"], pods.namespace, kept)
    ask(conn, "cancel", row_id)

    reach(conn, worker, row_id, "cancelled")
    worker.run()
    move_clock(conn, 2)
    worker.run()

    assert "kept by example.org/keeps" in row_of(conn, row_id)["held_by"]


def test_the_log_says_once_that_it_is_stuck_and_a_metric_counts_it(
    conn: Connection, worker: Worker, capfd: pytest.CaptureFixture[str]
) -> None:
    held(conn, worker)

    for _ in range(3):
        send(conn, QUEUE, {"action": "sweep_stuck"})
        worker.run()
    said = capfd.readouterr()

    assert (said.out + said.err).count("reservation.stuck") == 1
    assert REGISTRY.get_sample_value("pgfleet_reservations_stuck") == 1


def test_a_teardown_that_takes_long_is_looked_at_ever_less_often(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)
    reach(conn, worker, row_id, "cancelled")

    first = looks(conn, worker, 20)
    move_clock(conn, 3600)
    worker.run()
    later = looks(conn, worker, 180)

    assert first >= 8
    assert later <= 10, "three for the minutes, and what else is due every minute"
    assert status_of(conn, row_id) == "cancelled"


def test_one_that_cant_be_looked_at_says_why_and_only_as_long_as_it_is_so(
    conn: Connection, worker: Worker, box: Box
) -> None:
    row_id = active(conn, worker)
    box.fault(PODS, status=503, times=1000)
    ask(conn, "cancel", row_id)
    reach(conn, worker, row_id, "cancelled")
    worker.run_until(lambda: (row_of(conn, row_id)["current_detailed_status"] or "").startswith("KUBERNETES_"))
    move_clock(conn, 601)

    (found,) = stuck(conn)
    box.clear_faults()
    for _ in range(3):
        move_clock(conn, 61)
        worker.run()

    assert found["waits_for"].startswith("KUBERNETES_UNREACHABLE: ")
    row = row_of(conn, row_id)
    assert row["held_by"].endswith("is terminating")
    assert row["current_detailed_status"] == "Cancelled"


def test_a_node_that_answers_again_ends_it(conn: Connection, worker: Worker) -> None:
    row_id = held(conn, worker)
    pods = worker.running.tools.pods
    pods.api.delete_namespaced_pod(row_of(conn, row_id)["pod_name"], pods.namespace, grace_period_seconds=0)

    move_clock(conn, 61)
    row = ended(conn, worker, row_id)

    assert (row["gpus_held"], row["held_by"], row["held_since"]) == (0, None, None)
    assert stuck(conn) == []
    assert_sound(conn)


# --- by force


def test_by_force_its_gpus_are_free_and_its_pod_is_deleted_without_its_node(
    conn: Connection, worker: Worker, box: Box
) -> None:
    row_id = held(conn, worker, gpu_count=8)
    active(conn, worker, gpu_count=8)
    waiting = create(conn, gpu_count=8)
    worker.run()
    assert status_of(conn, waiting) == "queued"

    assert force(conn, row_id)
    row = ended(conn, worker, row_id)

    assert (row["gpus_held"], row["held_by"]) == (0, None)
    assert "postgres" in row["forced_by"]
    reach(conn, worker, waiting, "active")
    assert box.state()["objects"]["pods"] == 2
    assert stuck(conn) == []
    assert_sound(conn)


def test_its_history_says_who_let_go_of_it_and_what_it_held(conn: Connection, worker: Worker) -> None:
    row_id = held(conn, worker)

    force(conn, row_id)

    moves = conn.execute(
        "select from_status, to_status, reason, actor from public.status_history where row_id = %s"
        " order by history_id desc limit 1",
        (row_id,),
    ).fetchone()
    assert moves is not None
    assert moves[:2] == ("cancelled", "cancelled")
    assert moves[2].startswith("released by force, holding 2 GPUs: its pod gpu-dev-")
    assert moves[3] == "postgres (by hand)"


def test_a_pod_that_a_finalizer_keeps_is_in_nobodys_way_and_still_said(conn: Connection, worker: Worker) -> None:
    row_id = held(conn, worker)
    pods, name = worker.running.tools.pods, row_of(conn, row_id)["pod_name"]
    pods.api.patch_namespaced_pod(name, pods.namespace, {"metadata": {"finalizers": ["example.org/keeps"]}})

    force(conn, row_id)
    row = ended(conn, worker, row_id)

    assert row["gpus_held"] == 0
    (found,) = stuck(conn)
    assert found["forced_by"] == "postgres (by hand)"
    pods.api.patch_namespaced_pod(name, pods.namespace, {"metadata": {"finalizers": None}})
    move_clock(conn, 61)
    worker.run_until(lambda: row_of(conn, row_id)["held_by"] is None)
    assert stuck(conn) == []


@pytest.mark.parametrize("status", ["queued", "active"])
def test_a_live_reservation_is_not_let_go_of(conn: Connection, worker: Worker, status: str) -> None:
    row_id = live(conn, worker, status)

    with pytest.raises(psycopg.Error, match=f"is {status}, and only an ended one") as refused:
        force(conn, row_id)

    assert refused.value.sqlstate == "PF002"


def test_where_nothing_is_held_nothing_is_let_go_of(conn: Connection, worker: Worker) -> None:
    row_id = new_id()
    ask(conn, "cancel", row_id)
    worker.run()
    move_clock(conn, 31)
    worker.run()

    assert force(conn, row_id) is False
    with pytest.raises(psycopg.Error, match="there is no reservation") as refused:
        force(conn, new_id())
    assert refused.value.sqlstate == "PF008"


def test_a_volume_that_may_be_written_to_stays_until_it_is_detached(world: World) -> None:
    """Its snapshot is made after that: what was written until then is in it."""
    row_id = world.active()
    pods = world.reservations.running.tools.pods
    pod = pods.find(world.reservation(row_id)["pod_name"])
    assert pod is not None
    assert pod.node is not None
    world.box.node(pod.node, silent=True)
    world.cancel(row_id)
    in_time(world, lambda: world.reservation(row_id)["held_by"])

    force(world.conn, row_id)
    in_time(world, lambda: world.reservation(row_id)["held_by"] is None)
    in_time(world, lambda: "still attached" in (world.disk()["detail"] or ""))
    behind = world.reserve()
    world.until(lambda: world.status(behind) == "queued")
    assert pods.find(pod.name) is None
    assert world.snapshots() == []
    assert len(world.volumes) == 1
    assert world.reservation(behind)["current_detailed_status"].startswith("DISK_IN_USE: disk data is being released: ")

    world.aws.detach(world.volume_of())
    world.box.node(pod.node, silent=False)
    in_time(world, lambda: world.status(behind) in ("preparing", "active"))
    world.until(lambda: world.status(behind) == "active")

    (snapshot,) = world.snapshots()
    assert world.disk()["source_snapshot_id"] == snapshot["snapshot_id"]
    assert world.reservation(row_id)["reservation_ended"] is not None
    world.cancel(behind)
    world.over(behind)
