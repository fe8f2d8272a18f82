"""Services get addresses and node ports of their own."""

from __future__ import annotations

import pytest
from kubernetes import client

from pgfleet.console import sandbox
from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, connected, service, told

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def test_node_ports_are_unique_and_in_range(v1: Api) -> None:
    made = [v1.create_namespaced_service(NS, service(f"s{number}")) for number in range(50)]

    ports = {each.spec.ports[0].node_port for each in made}
    assert len(ports) == 50
    assert all(30_000 <= port <= 32_767 for port in ports)
    assert len({each.spec.cluster_ip for each in made}) == 50


def test_a_taken_node_port_is_invalid(v1: Api) -> None:
    v1.create_namespaced_service(NS, service("a", nodePort=31_000))

    with pytest.raises(client.ApiException) as refused:
        v1.create_namespaced_service(NS, service("b", nodePort=31_000))

    assert refused.value.status == 422
    assert "provided port is already allocated" in told(refused)["message"]


def test_node_ports_run_out_and_come_back() -> None:
    with sandbox.running(first_node_port=30_000, last_node_port=30_001) as box, connected(box) as api:
        v1: Api = client.CoreV1Api(api)
        for name in ("a", "b"):
            v1.create_namespaced_service(NS, service(name))

        with pytest.raises(client.ApiException) as refused:
            v1.create_namespaced_service(NS, service("c"))
        v1.delete_namespaced_service("a", NS)
        made = v1.create_namespaced_service(NS, service("c"))

        assert refused.value.status == 422
        assert made.spec.ports[0].node_port == 30_000
