"""Services get addresses and node ports of their own."""

from __future__ import annotations

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, owned_by, pod, ready, service

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def test_a_service_that_was_deleted_by_hand_stays_away(v1: Api) -> None:
    owner = v1.create_namespaced_pod(NS, pod("a"))
    ssh = service("a-ssh")
    ssh["metadata"]["ownerReferences"] = owned_by(owner)
    v1.create_namespaced_service(NS, ssh)

    v1.delete_namespaced_service("a-ssh", NS)

    ready(v1, "a")
    assert v1.list_namespaced_service(NS).items == []


def test_node_ports_are_unique_and_in_range(v1: Api) -> None:
    made = [v1.create_namespaced_service(NS, service(f"s{number}")) for number in range(50)]

    ports = {each.spec.ports[0].node_port for each in made}
    assert len(ports) == 50
    assert all(30_000 <= port <= 32_767 for port in ports)
    assert len({each.spec.cluster_ip for each in made}) == 50
