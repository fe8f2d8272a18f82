"""Services get addresses and node ports of their own."""

from __future__ import annotations

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, service

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def test_node_ports_are_unique_and_in_range(v1: Api) -> None:
    made = [v1.create_namespaced_service(NS, service(f"s{number}")) for number in range(50)]

    ports = {each.spec.ports[0].node_port for each in made}
    assert len(ports) == 50
    assert all(30_000 <= port <= 32_767 for port in ports)
    assert len({each.spec.cluster_ip for each in made}) == 50
