"""Who may speak with whom, as the NetworkPolicies of deploy/ say it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

FOLDER = Path(__file__).parents[2] / "deploy" / "kustomize" / "base"
USERS, WORKERS = "gpu-dev", "gpu-controlplane"
DNS = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
API = {"app.kubernetes.io/name": "pgfleet", "app.kubernetes.io/component": "api"}
POD_OF_A_USER = {"reservation": "gpu-dev-mmloahe6du", "app.kubernetes.io/managed-by": "pgfleet"}


def policies(namespace: str) -> list[dict[str, Any]]:
    files = FOLDER.glob("network-*.yaml")
    found = [each for path in files for each in yaml.safe_load_all(path.read_text("utf-8"))]
    return [each for each in found if each["kind"] == "NetworkPolicy" and each["metadata"]["namespace"] == namespace]


def rules(namespace: str, way: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    """Those that hold for a pod with these labels."""
    return [
        rule
        for policy in policies(namespace)
        if (policy["spec"]["podSelector"].get("matchLabels") or {}).items() <= labels.items()
        for rule in policy["spec"].get(way, ())
    ]


def may_send(namespace: str, labels: dict[str, str], address: str, port: int) -> bool:
    """Over TCP, to an address that no selector names; a rule without `to` goes anywhere, one without `ports` to all."""
    return any(
        _has_port(rule, port) and ("to" not in rule or any(_reaches(each, address) for each in rule["to"]))
        for rule in rules(namespace, "egress", labels)
    )


def _has_port(rule: dict[str, Any], port: int) -> bool:
    return "ports" not in rule or {"protocol": "TCP", "port": port} in rule["ports"]


def _reaches(peer: dict[str, Any], address: str) -> bool:
    block = peer.get("ipBlock")
    if block is None:
        return False
    inside = [ip_address(address) in ip_network(each) for each in (block["cidr"], *block.get("except", ()))]
    return inside[0] and not any(inside[1:])


@pytest.mark.parametrize("namespace", [USERS, WORKERS])
def test_what_no_policy_allows_is_denied_to_all_pods(namespace: str) -> None:
    (closed,) = (each for each in policies(namespace) if each["metadata"]["name"] == "nothing-else")

    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("namespace", [USERS, WORKERS])
def test_policies_are_of_the_form_that_kubernetes_takes_and_name_their_ways(namespace: str) -> None:
    for policy in policies(namespace):
        client.V1NetworkPolicy.model_validate(policy)
        ways = {way.capitalize() for way in ("ingress", "egress") if way in policy["spec"]}

        assert ways <= set(policy["spec"]["policyTypes"])


def test_users_come_in_by_ssh_and_jupyter_alone() -> None:
    (way_in,) = rules(USERS, "ingress", POD_OF_A_USER)

    assert way_in["ports"] == [{"protocol": "TCP", "port": 22}, {"protocol": "TCP", "port": 8888}]
    assert rules(USERS, "ingress", {}) == []


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # metadata of clouds
        "169.254.170.2",  # credentials of AWS
        "169.254.170.23",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "10.0.0.1",  # an API server, a database, a node, a pod of another user
        "172.20.0.1",
        "192.168.1.10",
        "100.64.3.7",
        "127.0.0.1",
        "0.0.0.1",
        "64:ff9b::a00:1",
        "2600:1f18::5",
        "::1",
    ],
)
def test_a_pod_of_a_user_reaches_nothing_private(address: str) -> None:
    ports = (22, 53, 80, 443, 5432, 6443, 8888, 10250)

    assert [port for port in ports if may_send(USERS, POD_OF_A_USER, address, port)] == []


@pytest.mark.parametrize("address", ["140.82.121.4", "1.1.1.1", "151.101.0.223", "169.253.0.1", "172.32.0.1"])
def test_a_pod_of_a_user_reaches_the_internet(address: str) -> None:
    assert all(may_send(USERS, POD_OF_A_USER, address, port) for port in (22, 80, 443))


@pytest.mark.parametrize("namespace", [USERS, WORKERS])
def test_pods_are_named_by_selector_for_dns_only(namespace: str) -> None:
    labels = {"app.kubernetes.io/name": "pgfleet", "pgfleet/calls-outside": "true", **POD_OF_A_USER}
    inside = [
        rule for rule in rules(namespace, "egress", labels) if any("podSelector" in each for each in rule.get("to", ()))
    ]

    assert [rule["ports"] for rule in inside] == [DNS]
    assert all(
        peer.keys() in ({"namespaceSelector", "podSelector"}, {"ipBlock"}) for rule in inside for peer in rule["to"]
    )


def test_a_worker_is_asked_for_its_metrics_alone_and_by_who_collects_them() -> None:
    (way_in,) = rules(WORKERS, "ingress", {"app.kubernetes.io/name": "pgfleet"})

    assert way_in["ports"] == [{"protocol": "TCP", "port": 9191}]
    assert way_in["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_the_api_is_asked_by_whoever_is_in_the_cluster_and_asks_issuers_by_tls() -> None:
    ways_in = rules(WORKERS, "ingress", API)

    assert {"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": 8080}]} in ways_in
    assert len(ways_in) == 2  # and metrics
    assert [port for port in (80, 443, 5432, 6443, 8080) if may_send(WORKERS, API, "10.0.0.1", port)] == [443, 5432]


@pytest.mark.parametrize(("outside", "port", "may"), [(False, 5432, True), (False, 443, False), (True, 443, True)])
def test_a_worker_reaches_the_database_and_what_its_kind_calls(*, outside: bool, port: int, may: bool) -> None:
    labels = {"app.kubernetes.io/name": "pgfleet"} | ({"pgfleet/calls-outside": "true"} if outside else {})

    assert may_send(WORKERS, labels, "10.0.0.1", port) is may
    assert not may_send(WORKERS, labels, "169.254.169.254", 80)


def test_the_namespaces_are_held_to_the_standards_of_pod_security() -> None:
    documents = yaml.safe_load_all((FOLDER.parents[1] / "namespaces.yaml").read_text("utf-8"))
    labels = {each["metadata"]["name"]: each["metadata"]["labels"] for each in documents}
    levels = {
        name: [held[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")]
        for name, held in labels.items()
    }

    assert levels == {USERS: ["baseline", "restricted", "restricted"], WORKERS: ["restricted"] * 3}
