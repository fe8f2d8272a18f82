"""A kubelet rejects pods that were bound to its node: they fail before they ran, with its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, events, pod, ready, until

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1

UNHEALTHY = (
    "Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices"
    " nvidia.com/gpu, which is unexpected"
)
REJECTIONS = {
    "UnexpectedAdmissionError": UNHEALTHY,
    "OutOfcpu": "Pod was rejected: Node didn't have enough resource: cpu, requested: 4000, used: 191500,"
    " capacity: 192000",
    "OutOfnvidia.com/gpu": "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu, requested: 8, used: 4,"
    " capacity: 8",
    "NodeAffinity": "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's"
    " node affinity/selector",
    "NodeShutdown": "Pod was rejected: Pod was rejected as the node is shutting down.",
}


@pytest.mark.parametrize(("reason", "message"), REJECTIONS.items())
def test_a_rejected_pod_has_failed_without_a_container_in_its_status(
    box: Box, v1: Api, reason: str, message: str
) -> None:
    box.starts(reason)

    v1.create_namespaced_pod(NS, pod("a"))

    status = until(lambda: v1.read_namespaced_pod("a", NS).status, lambda seen: seen.phase == "Failed")
    assert (status.reason, status.message) == (reason, message)
    assert status.start_time
    assert (status.container_statuses, status.host_ip, status.pod_ip) == (None, None, None)
    assert [condition.type for condition in status.conditions] == ["PodScheduled"]
    (event,) = until(lambda: events(v1, "a", reason))
    assert (event.type, f"Pod was rejected: {event.message}") == ("Warning", message)


def test_a_rejected_pod_gives_its_gpus_back_and_the_next_one_runs(box: Box, v1: Api) -> None:
    box.starts("UnexpectedAdmissionError", pods="^a$")
    v1.create_namespaced_pod(NS, pod("a"))
    until(lambda: v1.read_namespaced_pod("a", NS).status.phase, "Failed".__eq__)

    v1.create_namespaced_pod(NS, pod("b"))

    ready(v1, "b")
    assert box.state()["gpus"]["h100"]["requested"] == 8


def test_a_pod_bound_by_hand_to_a_full_node_is_rejected(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    body = pod("b", 2)
    body["spec"]["nodeName"] = ready(v1, "a").spec.node_name

    v1.create_namespaced_pod(NS, body)

    status = until(lambda: v1.read_namespaced_pod("b", NS).status, lambda seen: seen.phase == "Failed")
    assert status.reason == "OutOfnvidia.com/gpu"
    assert status.message.endswith("nvidia.com/gpu, requested: 2, used: 8, capacity: 8")


def test_a_start_that_there_is_not_is_refused(box: Box) -> None:
    with pytest.raises(ValueError, match="unknown start"):
        box.starts("dance")
