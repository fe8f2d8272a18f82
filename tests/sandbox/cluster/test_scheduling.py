"""Pods are placed by their GPUs and selectors, and told why when they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, events, pod, ready, until

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

NO_GPUS = (
    "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 Insufficient nvidia.com/gpu."
    " preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling,"
    " 2 No preemption victims found for incoming pod.."
)

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def test_a_pod_is_bound_to_a_node_its_selector_names_and_becomes_ready(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))

    seen = ready(v1, "a")

    assert seen.spec.node_name in ("h100-1", "h100-2")
    assert (seen.status.phase, seen.status.container_statuses[0].ready) == ("Running", True)
    assert seen.status.pod_ip
    assert seen.status.host_ip
    assert seen.status.start_time


def test_no_node_is_given_more_gpus_than_it_has(box: Box, v1: Api) -> None:
    for number in range(6):
        v1.create_namespaced_pod(NS, pod(f"p{number}", 3))

    until(lambda: box.state()["gpus"]["h100"]["requested"] == 12)
    until(lambda: events(v1, "p4", "FailedScheduling"))

    bound = [seen.spec.node_name for seen in v1.list_namespaced_pod(NS).items if seen.spec.node_name]
    assert sorted(bound) == ["h100-1", "h100-1", "h100-2", "h100-2"]


def test_a_pod_without_a_place_is_told_why_once_and_bound_when_gpus_are_freed(v1: Api) -> None:
    for name in ("a", "b"):
        v1.create_namespaced_pod(NS, pod(name))
        ready(v1, name)
    v1.create_namespaced_pod(NS, pod("late"))

    (event,) = until(lambda: events(v1, "late", "FailedScheduling"))
    condition = v1.read_namespaced_pod("late", NS).status.conditions[0]
    v1.delete_namespaced_pod("a", NS)

    assert (event.type, event.action, event.reporting_component) == ("Warning", "Scheduling", "default-scheduler")
    assert (event.count, event.series, event.first_timestamp, event.last_timestamp) == (None, None, None, None)
    assert event.event_time
    assert event.message == condition.message == NO_GPUS
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "Unschedulable")
    ready(v1, "late")


def test_a_pod_that_is_tried_again_has_one_event_still_in_a_series_of_two(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", gpu_type="a100"))
    (first,) = until(lambda: events(v1, "a", "FailedScheduling"))

    for _ in range(3):
        box.add_nodes("h100", count=1, gpus=1)

    (again,) = until(lambda: events(v1, "a", "FailedScheduling"), lambda seen: seen[0].series)
    until(lambda: "0/6 nodes" in v1.read_namespaced_pod("a", NS).status.conditions[0].message)
    assert (again.metadata.uid, again.series.count, again.count) == (first.metadata.uid, 2, None)


def test_the_oldest_pod_is_bound_first(box: Box, v1: Api) -> None:
    for name in ("a", "b", "c"):
        v1.create_namespaced_pod(NS, pod(name, gpu_type="a100"))
    until(lambda: events(v1, "c", "FailedScheduling"))

    box.add_nodes("a100", count=1, gpus=8)

    ready(v1, "a")
    assert v1.read_namespaced_pod("b", NS).spec.node_name is None


def test_a_small_pod_is_not_held_up_by_a_large_one(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("large", 16))

    v1.create_namespaced_pod(NS, pod("small", 1))

    ready(v1, "small")


def test_new_nodes_are_numbered_labelled_and_used(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", 4, gpu_type="a100"))

    names = box.add_nodes("a100", count=2, gpus=4, cpu=96, memory_gb=512)

    node = v1.read_node("a100-2")
    assert names == ["a100-1", "a100-2"]
    assert node.metadata.labels["GpuType"] == "a100"
    assert {a.type for a in node.status.addresses} >= {"ExternalIP", "InternalIP"}
    assert (node.status.allocatable["nvidia.com/gpu"], node.status.allocatable["cpu"]) == ("4", "96")
    ready(v1, "a")


def test_a_cordoned_node_takes_no_new_pods(v1: Api) -> None:
    for name in ("h100-1", "h100-2"):
        v1.patch_node(name, {"spec": {"unschedulable": True}})

    v1.create_namespaced_pod(NS, pod("a"))

    (event,) = until(lambda: events(v1, "a", "FailedScheduling"))
    assert "2 node(s) were unschedulable" in event.message


def test_cpu_and_memory_are_counted_too(v1: Api) -> None:
    body = pod("a", 0, gpu_type="cpu-x86")
    body["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "192500m", "memory": "1Gi"}}

    v1.create_namespaced_pod(NS, body)

    (event,) = until(lambda: events(v1, "a", "FailedScheduling"))
    assert "1 Insufficient cpu" in event.message
