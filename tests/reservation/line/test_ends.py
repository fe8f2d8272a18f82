"""What a line counts on: each GPU once, whatever is over already and not seen gone, or gone and not over yet."""

from dataclasses import replace

import pytest

from pgfleet.schema.line.asking import ask_lines, standings_in
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.unit import Unit
from pgfleet.workers.clients.kubernetes.watch.nodes import Nodes
from pgfleet.workers.reservation.cluster.book import Book
from pgfleet.workers.reservation.cluster.looker import Looker
from worlds.fleet import Connection, Worker, move_clock, row_of
from worlds.outside.kubernetes import NS
from worlds.reservations import active, ask, ended

# A pod as the watch has seen it.
SEEN = """
insert into public.gpu_pods (pod_uid, pod_name, namespace, reservation_id, gpu_type, node_name, gpus, phase, is_ready,
  is_deleting, fingerprint, resource_version, seen_at)
select r.reservation_id, r.pod_name, r.namespace, r.reservation_id, r.gpu_type, 'h100-1', r.gpu_count, %s, false, false,
  '', '1', r.created_at
from public.reservations r where r.reservation_id = %s
"""
OVER = "update public.reservations set status = 'expired' where reservation_id = %s"
KEPT = "update public.reservations set kept_to_node = 'h100-1' where reservation_id = %s"


@pytest.fixture
def seeing(worker: Worker) -> Worker:
    """A worker that has looked at the nodes, and hears nothing of pods."""
    pods = worker.running.tools.pods
    Looker(Nodes(pods.api, NS, 10), Book(worker.running)).look()
    return worker


def standing(conn: Connection) -> Standing:
    return standings_in(ask_lines(conn, ["h100"], None), 120)["h100"]


def most_on_a_node(conn: Connection) -> int:
    return max(free for steps in standing(conn).ground().free.nodes.values() for _, free in steps)


@pytest.mark.parametrize("phase", [None, "Succeeded", "Failed"], ids=["gone", "succeeded", "failed"])
def test_a_node_gets_the_gpus_of_a_pod_that_is_over_back_once(
    conn: Connection, seeing: Worker, phase: str | None
) -> None:
    """Its row has them until its teardown has seen that, and is kept to the node."""
    row_id = active(conn, seeing, gpu_count=4)
    conn.execute(KEPT, (row_id,))
    if phase is not None:
        conn.execute(SEEN, (phase, row_id))
    conn.execute(OVER, (row_id,))

    (end,) = standing(conn).ends
    assert (end.gpus, end.node) == (4, "")
    assert most_on_a_node(conn) == 8


def test_who_comes_later_does_not_take_what_is_about_to_be_the_heads(conn: Connection, seeing: Worker) -> None:
    """The head's node is empty already, and its last GPUs are still in the hands of a row whose pod is gone."""
    over = active(conn, seeing, gpu_count=4)
    conn.execute(KEPT, (over,))
    large = active(conn, seeing, gpu_count=8, duration_hours=24)
    conn.execute(SEEN.replace("h100-1", "h100-2"), ("Running", large))
    conn.execute(OVER, (over,))

    plan = replace(standing(conn), line=(Unit("head", 8, 4), Unit("later", 4, 1))).plan()

    assert plan.starts == ()
    assert [(waits.unit.key, waits.is_promised) for waits in plan.waiting] == [("head", True), ("later", False)]


def test_a_pod_whose_reservation_has_ended_has_no_gpus_though_the_watch_has_not_heard_of_it(
    conn: Connection, seeing: Worker
) -> None:
    row_id = active(conn, seeing, gpu_count=8)
    conn.execute(SEEN, ("Running", row_id))
    assert standing(conn).room.free["h100-1"] == 0

    ask(conn, "cancel", row_id)
    ended(conn, seeing, row_id)

    assert standing(conn).room.free["h100-1"] == 8


def test_a_pod_that_was_let_go_of_by_force_keeps_its_gpus_on_its_node(conn: Connection, seeing: Worker) -> None:
    row_id = active(conn, seeing, gpu_count=8)
    conn.execute(SEEN, ("Running", row_id))
    conn.execute(OVER, (row_id,))

    conn.execute("select public.release_by_force(%s)", (row_id,))
    ended(conn, seeing, row_id)

    assert standing(conn).room.free["h100-1"] == 0


def test_a_teardown_that_was_stuck_does_not_make_all_ends_late(conn: Connection, seeing: Worker) -> None:
    row_id = active(conn, seeing, gpu_count=8)
    conn.execute(OVER, (row_id,))
    before = standing(conn).pace.teardown

    move_clock(conn, 5400)
    seeing.run()
    move_clock(conn, 5460)
    ended(conn, seeing, row_id)

    row = row_of(conn, row_id)
    assert (row["reservation_ended"] - row["status_since"]).total_seconds() > 5000
    assert standing(conn).pace.teardown == before
