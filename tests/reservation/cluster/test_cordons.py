"""An operator lets nobody start on a node of the cluster for a while: nobody does, and those on it are told."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from kubernetes import client

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.brake import cordons
from pgfleet.schema.errors import Refusal
from pgfleet.schema.reads import about
from pgfleet.workers.reservation.machine import KIND
from worlds.fleet import Connection, Worker, assert_sound, move_clock, row_of, settings_for, worker_on
from worlds.outside.kubernetes import NS, connected
from worlds.reservations import active, create, reach, status_of


@pytest.fixture
def watching(conn: Connection, dsn: str, box: Box) -> Iterator[Worker]:
    with worker_on(KIND, settings_for(dsn, box), watches=True) as worker:
        worker.run_until(lambda: conn.execute("select 1 from public.gpu_looks where seen_at is not null").fetchone())
        yield worker


def node_of(box: Box, pod: str) -> str:
    with connected(box) as api:
        found: Any = client.CoreV1Api(api).read_namespaced_pod(pod, NS)
        return str(found.spec.node_name)


def cordon(conn: Connection, node: str, hours: float = 1) -> None:
    cordons.cordon(conn, node, about.now(conn) + timedelta(hours=hours), "ops", "new memory")


def shown(conn: Connection, row_id: str) -> str:
    return str(row_of(conn, row_id)["current_detailed_status"])


def on_a_node(conn: Connection, worker: Worker, box: Box, gpus: int) -> tuple[str, str]:
    """A reservation and its node, seen by the watch."""
    row_id = active(conn, worker, gpu_count=gpus)
    node = node_of(box, row_of(conn, row_id)["pod_name"])
    worker.run_until(
        lambda: conn.execute("select 1 from public.gpu_pods where node_name = %s and is_ready", (node,)).fetchone()
    )
    return row_id, node


def test_nobody_starts_on_a_cordoned_node(conn: Connection, watching: Worker, box: Box) -> None:
    _, closed = on_a_node(conn, watching, box, gpus=1)
    cordon(conn, closed)

    others = [active(conn, watching, gpu_count=4, user_id=user) for user in ("bob", "eve")]
    waits = create(conn, gpu_count=1, user_id="joe")
    watching.run_until(lambda: status_of(conn, waits) == "queued")

    assert closed not in {node_of(box, row_of(conn, other)["pod_name"]) for other in others}
    assert_sound(conn)


def test_who_is_on_a_cordoned_node_is_told_until_when_and_why(conn: Connection, watching: Worker, box: Box) -> None:
    row_id, closed = on_a_node(conn, watching, box, gpus=1)

    cordon(conn, closed)
    watching.run_until(lambda: "is cordoned by ops until" in shown(conn, row_id))
    told = shown(conn, row_id)
    cordons.uncordon(conn, closed)
    watching.run_until(lambda: shown(conn, row_id) == "Ready")

    assert closed in told
    assert told.endswith(": new memory")


def test_when_a_cordon_is_over_the_line_goes_on_by_itself(conn: Connection, watching: Worker, box: Box) -> None:
    _, closed = on_a_node(conn, watching, box, gpus=1)
    cordon(conn, closed)
    reach(conn, watching, create(conn, gpu_count=8), "active")
    waits = create(conn, gpu_count=4)
    watching.run_until(lambda: status_of(conn, waits) == "queued")

    move_clock(conn, 3601)
    row = reach(conn, watching, waits, "active")

    assert node_of(box, row["pod_name"]) == closed


def test_a_node_that_was_never_seen_is_refused_with_those_there_are(conn: Connection, watching: Worker) -> None:
    name = conn.execute("select min(node_name) from public.gpu_nodes").fetchone()

    with pytest.raises(Refusal) as refused:
        cordon(conn, "gpu-none")

    assert name is not None
    assert name[0] in str(refused.value)
    assert watching.running.tools is not None
