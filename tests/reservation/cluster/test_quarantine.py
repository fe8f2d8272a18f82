"""Pods with our label that no row accounts for are set aside: told, counted, and ended by nobody but a person."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from kubernetes import client

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.doctor import nodes as doctor
from pgfleet.schema.doctor.findings import LIMITS, Severity
from pgfleet.schema.reads import reservation as reads
from worlds.fleet import Connection, Worker, lose_row, new_id, row_of, send
from worlds.outside.kubernetes import NS, Api, connected, is_gone, pod, ready, until
from worlds.reservations import QUEUE, active, ask, create, ended, status_of

OURS = {"app.kubernetes.io/managed-by": "pgfleet"}


@pytest.fixture
def cluster(box: Box) -> Iterator[Api]:
    with connected(box) as api:
        yield client.CoreV1Api(api)


def stray(cluster: Api, name: str, owner: str | None, gpus: int = 8) -> Any:
    """A pod as we make them, of a reservation that may not be there."""
    annotations = {} if owner is None else {"pgfleet/reservation-id": owner}
    cluster.create_namespaced_pod(NS, pod(name, gpus, labels=OURS, annotations=annotations))
    return ready(cluster, name)


def sweep(conn: Connection, worker: Worker) -> None:
    """One sweep, whenever the one before it was."""
    conn.execute("update public.periodic set done_at = null")
    send(conn, QUEUE, {"action": "sweep_pods"})
    worker.run()


def quarantined(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute(
        "select pod_name, gpu_type, node_name is not null, gpus, gone_at is not null from public.pod_quarantine"
        " order by 1"
    ).fetchall()


@pytest.mark.parametrize("owner", [new_id(), None], ids=["of a reservation that is not there", "of none"])
def test_a_pod_without_a_row_is_set_aside_and_left_alone(
    conn: Connection, worker: Worker, cluster: Api, owner: str | None
) -> None:
    stray(cluster, "gpu-dev-lost", owner)

    sweep(conn, worker)
    sweep(conn, worker)

    assert quarantined(conn) == [("gpu-dev-lost", "h100", True, 8, False)]
    assert not is_gone(cluster, "gpu-dev-lost")


def test_its_gpus_are_not_free_where_totals_count(conn: Connection, worker: Worker, cluster: Api) -> None:
    stray(cluster, "gpu-dev-lost-1", new_id())
    stray(cluster, "gpu-dev-lost-2", new_id())
    sweep(conn, worker)

    row_id = create(conn, gpu_count=1)
    worker.run_until(lambda: status_of(conn, row_id) == "queued")

    assert row_of(conn, row_id)["current_detailed_status"] == "NO_CAPACITY: 1 GPU wanted, 0 of 16 free"
    assert reads.lines(conn, ["h100"], timedelta())["h100"].free == 0


def test_the_doctor_tells_of_it_and_how_to_end_it(conn: Connection, worker: Worker, cluster: Api) -> None:
    owner = new_id()
    stray(cluster, "gpu-dev-lost", owner)
    sweep(conn, worker)

    (found,) = [finding for finding in doctor.nodes(conn, LIMITS) if "accounts for" in finding.text]

    assert found.severity is Severity.WARNING
    assert found.text.startswith("no reservation accounts for 1 pod with 8 GPUs, which nobody ends: gpu-dev-lost (")
    assert owner in found.text
    assert found.remedy is not None
    assert found.remedy.endswith("kubectl -n gpu-dev delete pod gpu-dev-lost")


def test_when_the_pod_is_gone_it_is_noted(conn: Connection, worker: Worker, cluster: Api) -> None:
    stray(cluster, "gpu-dev-lost", new_id())
    sweep(conn, worker)

    cluster.delete_namespaced_pod("gpu-dev-lost", NS, grace_period_seconds=0)
    until(lambda: is_gone(cluster, "gpu-dev-lost"))
    sweep(conn, worker)

    assert quarantined(conn) == [("gpu-dev-lost", "h100", True, 8, True)]
    assert doctor_is_content(conn)


def test_when_its_row_is_back_it_is_out_again(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker)
    pod_name = row_of(conn, row_id)["pod_name"]
    conn.execute("create table saved as select * from public.reservations where reservation_id = %s", (row_id,))
    lose_row(conn, row_id)
    sweep(conn, worker)
    assert quarantined(conn) == [(pod_name, "h100", True, 2, False)]

    conn.execute("update saved set status = 'pending', gpus_held = 0")
    conn.execute("insert into public.reservations select * from saved")
    sweep(conn, worker)

    assert quarantined(conn) == [(pod_name, "h100", True, 2, True)]


def test_a_pod_whose_row_is_over_is_torn_down_as_before(conn: Connection, worker: Worker, cluster: Api) -> None:
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)
    ended(conn, worker, row_id)
    stray(cluster, row_of(conn, row_id)["pod_name"], row_id, gpus=1)

    send(conn, QUEUE, {"action": "sweep_pods"})

    worker.run_until(lambda: is_gone(cluster, row_of(conn, row_id)["pod_name"]))
    assert quarantined(conn) == []


def doctor_is_content(conn: Connection) -> bool:
    return not [finding for finding in doctor.nodes(conn, LIMITS) if "accounts for" in finding.text]


def test_the_doctor_says_when_workers_run_and_see_no_nodes(conn: Connection) -> None:
    conn.execute("update public.periodic set next_at = public.fleet_now()")
    assert doctor.nodes(conn, LIMITS) == [], "no worker runs"

    conn.execute("update public.periodic set next_at = public.fleet_now() + '1 minute' where name like 'reservation.%'")
    conn.execute("update public.gpu_looks set problem = 'Kubernetes answered 403 Forbidden'")
    (found,) = doctor.nodes(conn, LIMITS)

    assert found.severity is Severity.WARNING
    assert "nodes were never seen: Kubernetes answered 403 Forbidden" in found.text
