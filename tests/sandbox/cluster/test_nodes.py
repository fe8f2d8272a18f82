"""Nodes fall silent, are tainted, come back or go, and their pods are treated as the controllers treat them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, events, is_gone, pod, ready, until

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def test_a_silent_node_is_unknown_and_its_pods_are_not_ready(box: Box, v1: Api) -> None:
    node = running_pod(v1, "a")

    box.node(node, silent=True)

    until(lambda: [each.effect for each in v1.read_node(node).spec.taints or ()], ["NoSchedule", "NoExecute"].__eq__)
    seen = v1.read_node(node)
    told = condition(seen, "Ready")
    assert (told.status, told.reason) == ("Unknown", "NodeStatusUnknown")
    assert told.message == "Kubelet stopped posting node status."
    assert {each.status for each in seen.status.conditions} == {"Unknown"}
    assert {each.key for each in seen.spec.taints} == {"node.kubernetes.io/unreachable"}
    of_pod = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: condition(seen, "Ready").status == "False")
    assert (of_pod.status.phase, condition(of_pod, "Ready").reason) == ("Running", None)
    assert condition(of_pod, "ContainersReady").status == "True"
    assert of_pod.status.container_statuses[0].ready
    (event,) = until(lambda: events(v1, "a", "NodeNotReady"))
    assert event.message == "Node is not ready"


def test_pods_of_a_silent_node_are_deleted_in_time_and_stay_until_it_is_back(box: Box, v1: Api) -> None:
    node = running_pod(v1, "a")

    box.node(node, silent=True)

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: seen.metadata.deletion_timestamp)
    target = condition(seen, "DisruptionTarget")
    assert (target.status, target.reason) == ("True", "DeletionByTaintManager")
    assert target.message == "Taint manager: deleting due to NoExecute taint"
    assert seen.status.phase == "Running"
    assert box.state()["gpus"]["h100"]["requested"] == 8
    (event,) = until(lambda: events(v1, "a", "TaintManagerEviction"))
    assert event.message == f"Marking for deletion Pod {NS}/a"
    box.node(node, silent=False)
    until(lambda: is_gone(v1, "a"))
    assert condition(v1.read_node(node), "Ready").reason == "KubeletReady"
    assert v1.read_node(node).spec.taints is None


def test_a_node_that_is_back_in_time_keeps_its_pods_which_are_ready_again(box: Box, v1: Api) -> None:
    body = pod("a")
    unreachable = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    body["spec"]["tolerations"] = [unreachable | {"tolerationSeconds": 100_000}]
    v1.create_namespaced_pod(NS, body)
    node = ready(v1, "a").spec.node_name
    box.node(node, silent=True)
    until(lambda: condition(v1.read_namespaced_pod("a", NS), "Ready").status, "False".__eq__)

    box.node(node, silent=False)

    assert ready(v1, "a").metadata.deletion_timestamp is None


def test_what_is_deleted_on_a_silent_node_terminates_until_the_node_is_gone(box: Box, v1: Api) -> None:
    node = running_pod(v1, "a")
    box.node(node, silent=True)

    v1.delete_namespaced_pod("a", NS, grace_period_seconds=1)
    until(lambda: v1.read_node(node).spec.taints)
    held = v1.read_namespaced_pod("a", NS)
    v1.delete_node(node)

    assert held.metadata.deletion_timestamp
    until(lambda: is_gone(v1, "a"))


def test_a_node_out_of_service_gives_up_what_was_deleted_on_it(box: Box, v1: Api) -> None:
    node = running_pod(v1, "a")
    box.node(node, silent=True)
    v1.delete_namespaced_pod("a", NS)
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}

    v1.patch_node(node, {"spec": {"taints": [taint]}})

    until(lambda: is_gone(v1, "a"))


def test_a_pod_bound_to_a_silent_node_starts_when_it_is_back(box: Box, v1: Api) -> None:
    box.node("h100-1", silent=True)
    body = pod("a")
    body["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "h100-1"}
    v1.create_namespaced_pod(NS, body)

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: seen.spec.node_name)
    box.node("h100-1", silent=False)

    assert (seen.status.start_time, seen.status.container_statuses) == (None, None)
    ready(v1, "a")


def test_a_node_that_is_not_ready_says_so_itself(box: Box, v1: Api) -> None:
    box.node("h100-1", ready=False)

    seen = until(lambda: v1.read_node("h100-1"), lambda seen: seen.spec.taints)
    told = condition(seen, "Ready")
    assert (told.status, told.reason) == ("False", "KubeletNotReady")
    assert {each.key for each in seen.spec.taints} == {"node.kubernetes.io/not-ready"}


@pytest.mark.parametrize(
    ("pressure", "kind", "reason"),
    [("memory", "MemoryPressure", "KubeletHasInsufficientMemory"), ("disk", "DiskPressure", "KubeletHasDiskPressure")],
)
def test_a_node_under_pressure_takes_no_more_pods(box: Box, v1: Api, pressure: str, kind: str, reason: str) -> None:
    for node in ("h100-1", "h100-2"):
        box.node(node, pressure=pressure)
    until(lambda: all(v1.read_node(node).spec.taints for node in ("h100-1", "h100-2")))

    v1.create_namespaced_pod(NS, pod("a"))

    (event,) = until(lambda: events(v1, "a", "FailedScheduling"))
    assert "2 node(s) had untolerated taint(s)" in event.message
    assert (condition(v1.read_node("h100-1"), kind).status, condition(v1.read_node("h100-1"), kind).reason) == (
        "True",
        reason,
    )


def test_a_cordoned_node_is_tainted_until_it_is_not(v1: Api) -> None:
    v1.patch_node("h100-1", {"spec": {"unschedulable": True}})
    (taint,) = until(lambda: v1.read_node("h100-1").spec.taints)

    v1.patch_node("h100-1", {"spec": {"unschedulable": None}})

    until(lambda: v1.read_node("h100-1").spec.taints is None)
    assert (taint.key, taint.effect) == ("node.kubernetes.io/unschedulable", "NoSchedule")


def test_pods_of_a_node_that_is_gone_fail_before_they_are_removed(box: Box, v1: Api) -> None:
    node = running_pod(v1, "a")
    v1.patch_namespaced_pod("a", NS, {"metadata": {"finalizers": ["example.com/hold"]}})

    v1.delete_node(node)

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: seen.status.phase == "Failed")
    target = condition(seen, "DisruptionTarget")
    assert (target.reason, target.message) == ("DeletionByPodGC", "PodGC: node no longer exists")


@pytest.mark.parametrize("families", ["ipv4,ipv6", "ipv6,ipv4", "ipv6"])
def test_nodes_and_pods_have_an_address_of_each_family_in_the_nodes_order(box: Box, v1: Api, families: str) -> None:
    (name,) = box.add_nodes("a100", count=1, gpus=8, families=families, external=False)

    running_pod(v1, "a", gpu_type="a100")

    addresses = v1.read_node(name).status.addresses
    inside = [each.address for each in addresses if each.type == "InternalIP"]
    status = v1.read_namespaced_pod("a", NS).status
    assert [family(each) for each in inside] == families.split(",")
    assert [each.ip for each in status.host_ips] == inside
    assert [family(each.ip) for each in status.pod_ips] == families.split(",")
    assert not [each for each in addresses if each.type == "ExternalIP"]


@pytest.mark.parametrize("clock_s", [3600, -3600])
def test_a_kubelet_writes_the_times_of_its_own_clock(box: Box, v1: Api, clock_s: int) -> None:
    for node in ("h100-1", "h100-2"):
        box.node(node, clock_s=clock_s)

    v1.create_namespaced_pod(NS, pod("a"))

    seen = ready(v1, "a")
    there = datetime.now(UTC) + timedelta(seconds=clock_s)
    started = seen.status.container_statuses[0].state.running.started_at
    for of_kubelet in (seen.status.start_time, started, condition(seen, "Ready").last_transition_time):
        assert abs(of_kubelet - there) < timedelta(minutes=5)
    for of_server in (seen.metadata.creation_timestamp, condition(seen, "PodScheduled").last_transition_time):
        assert abs(of_server - datetime.now(UTC)) < timedelta(minutes=5)


def test_what_a_node_can_t_be_told_is_refused(box: Box) -> None:
    with pytest.raises(ValueError, match="not found"):
        box.node("nowhere", silent=True)
    with pytest.raises(ValueError, match="pressure is of memory, disk, pid"):
        box.node("h100-1", pressure="peer")


def running_pod(v1: Api, name: str, **wanted: Any) -> str:
    """The name of its node."""
    v1.create_namespaced_pod(NS, pod(name, **wanted))
    node: str = ready(v1, name).spec.node_name
    return node


def condition(seen: Any, kind: str) -> Any:
    return next(each for each in seen.status.conditions if each.type == kind)


def family(address: str) -> str:
    return "ipv6" if ":" in address else "ipv4"
