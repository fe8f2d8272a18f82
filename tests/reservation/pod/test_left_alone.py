"""What a pod has left behind when it was gone (services, keys, a home) is swept as pods are; nobody else's is."""

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.environment.fleet import pod_name
from worlds.fleet import Connection, Worker, move_clock, new_id, row_of, send
from worlds.outside.kubernetes import NS, Api, connected, pod, ready
from worlds.reservations import QUEUE, active, ask, ended

OURS = {"app.kubernetes.io/managed-by": "pgfleet"}
PORTS = [{"port": 22, "targetPort": 22}]


@pytest.fixture
def cluster(box: Box) -> Iterator[Api]:
    with connected(box) as api:
        yield client.CoreV1Api(api)


def leave(cluster: Api, pod: str, owner: str | None, labels: dict[str, str] | None = None) -> None:
    """A service, a config map, a claim and a volume of a pod, as we make them, that nothing owns."""
    annotations = {} if owner is None else {"pgfleet/reservation-id": owner}
    about = {"labels": {"reservation": pod, **(OURS if labels is None else labels)}, "annotations": annotations}
    cluster.create_namespaced_service(
        NS, {"metadata": {"name": f"{pod}-ssh", **about}, "spec": {"selector": {"reservation": pod}, "ports": PORTS}}
    )
    cluster.create_namespaced_config_map(NS, {"metadata": {"name": f"{pod}-keys", **about}, "data": {}})
    size = {"storage": "10Gi"}
    volume = {
        "capacity": size,
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": NS, "name": f"{pod}-home"},
        "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"},
    }
    cluster.create_persistent_volume({"metadata": {"name": f"{pod}-home", **about}, "spec": volume})
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": size}}
    cluster.create_namespaced_persistent_volume_claim(
        NS, {"metadata": {"name": f"{pod}-home", **about}, "spec": {**claim, "volumeName": f"{pod}-home"}}
    )


def left(cluster: Api) -> list[str]:
    lists: tuple[Any, ...] = (
        cluster.list_namespaced_service(NS),
        cluster.list_namespaced_config_map(NS),
        cluster.list_namespaced_persistent_volume_claim(NS),
        cluster.list_persistent_volume(),
    )
    return sorted(thing.metadata.name for listed in lists for thing in listed.items)


def sweep(conn: Connection, worker: Worker) -> None:
    """Twice: a volume goes after its claim."""
    for _ in range(2):
        conn.execute("update public.periodic set done_at = null")
        send(conn, QUEUE, {"action": "sweep_pods"})
        worker.run()


@pytest.mark.parametrize("owner", [new_id(), None], ids=["of a reservation that is not there", "of none"])
def test_what_a_pod_that_is_gone_has_left_is_deleted(
    conn: Connection, worker: Worker, cluster: Api, owner: str | None
) -> None:
    leave(cluster, "gpu-dev-gone", owner)

    sweep(conn, worker)

    assert left(cluster) == []


def test_what_is_left_of_an_ended_reservation_is_torn_down(conn: Connection, worker: Worker, cluster: Api) -> None:
    row_id = active(conn, worker)
    ask(conn, "cancel", row_id)
    ended(conn, worker, row_id)
    leave(cluster, pod_name(row_id), row_id)

    for _ in range(3):
        sweep(conn, worker)
        move_clock(conn, 60)

    assert [name for name in left(cluster) if name.endswith(("-ssh", "-keys"))] == []


def test_what_goes_with_a_pod_that_runs_stays(conn: Connection, worker: Worker, cluster: Api) -> None:
    row_id = active(conn, worker)
    before = left(cluster)
    annotations = {"pgfleet/reservation-id": new_id()}
    cluster.create_namespaced_pod(NS, pod("gpu-dev-lost", 8, labels=OURS, annotations=annotations))
    ready(cluster, "gpu-dev-lost")
    leave(cluster, "gpu-dev-lost", annotations["pgfleet/reservation-id"])

    sweep(conn, worker)

    assert set(left(cluster)) == {*before, "gpu-dev-lost-ssh", "gpu-dev-lost-keys", "gpu-dev-lost-home"}
    assert row_of(conn, row_id)["status"] == "active"


def test_what_is_not_ours_stays(conn: Connection, worker: Worker, cluster: Api) -> None:
    leave(cluster, "gpu-dev-gone", new_id(), labels={"app.kubernetes.io/managed-by": "helm"})

    sweep(conn, worker)

    assert len(left(cluster)) == 4
