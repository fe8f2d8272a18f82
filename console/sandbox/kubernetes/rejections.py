"""Pods that a kubelet does not admit although they were bound to its node: they fail before they ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfleet.console.sandbox.kubernetes.demands import Demand, Node
    from pgfleet.console.sandbox.kubernetes.resources import Object

LACKS = "Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}"
# By the reason in the pod's status; `rejected` puts its own words before each.
MESSAGES = {
    "UnexpectedAdmissionError": "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices"
    " nvidia.com/gpu, which is unexpected",
    "OutOfcpu": LACKS.format("cpu", 4000, 191500, 192000),
    "OutOfmemory": LACKS.format("memory", 17179869184, 2190433320960, 2199023255552),
    "OutOfpods": LACKS.format("pods", 1, 110, 110),
    "OutOfnvidia.com/gpu": LACKS.format("nvidia.com/gpu", 8, 4, 8),
    "NodeAffinity": "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    "NodeShutdown": "Pod was rejected as the node is shutting down.",
    "TopologyAffinityError": "Resources cannot be allocated with Topology locality",
    "Evicted": "The node had condition: [MemoryPressure]. ",
}


def rejected(pod: Object, now: str, *, reason: str, message: str) -> None:
    """The status has no container in it, and nothing of what the kubelet writes for a pod that it takes on."""
    kept = {name: pod["status"][name] for name in ("conditions", "qosClass") if name in pod["status"]}
    pod["status"] = kept | {
        "phase": "Failed",
        "reason": reason,
        "message": f"Pod was rejected: {message}",
        "startTime": pod["status"].get("startTime", now),
    }


def why_rejected(demand: Demand, node: Node, used: Mapping[str, int]) -> tuple[str, str] | None:
    """Reason and message for a pod that does not fit on its node beside the others, or doesn't select it.

    It happens to pods that somebody bound by hand, and to those that two schedulers bound at once.
    """
    for name, amount in demand.amounts:
        if name in node.allocatable and used.get(name, 0) + amount > node.allocatable[name]:
            return f"OutOf{name}", LACKS.format(name, amount, used.get(name, 0), node.allocatable[name])
    return None if node.selected_by(demand) else ("NodeAffinity", MESSAGES["NodeAffinity"])
