"""What the conditions of a pod say: why it has no node, who takes it away, and whether its node is heard of."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from pgfleet.workers.clients.kubernetes.status.containers import words

Conditions: TypeAlias = Mapping[str, Any]


class Place(StrEnum):
    """Why a pod is on no node, by who has to do something."""

    UNSEEN = "unseen"  # a scheduler: none has looked at it
    GATED = "gated"  # whoever has put a gate before it
    UNSCHEDULABLE = "unschedulable"  # no node fits now
    SCHEDULER_TROUBLE = "scheduler_trouble"  # a scheduler that could not decide


@dataclass(frozen=True, slots=True)
class Unplaced:
    """`text` names the scheduler of an unseen pod, the gates of a gated one, else what the scheduler says."""

    place: Place
    text: str


class Taken(StrEnum):
    """Who takes a pod away, as it is shown."""

    PREEMPTED = "PREEMPTED"
    EVICTED = "EVICTED"
    NODE_DELETED = "NODE_DELETED"
    NODE_SHUTDOWN = "NODE_SHUTDOWN"
    NODE_SILENT = "NODE_SILENT"
    TAINTED = "TAINTED"


@dataclass(frozen=True, slots=True)
class Disruption:
    taken: Taken
    message: str


BY_CONDITION = {
    "PreemptionByScheduler": Taken.PREEMPTED,
    "EvictionByEvictionAPI": Taken.EVICTED,
    "TerminationByKubelet": Taken.EVICTED,
    "DeletionByTaintManager": Taken.TAINTED,
    "DeletionByPodGC": Taken.NODE_DELETED,
}
BY_REASON = {
    "Evicted": Taken.EVICTED,
    "Preempting": Taken.PREEMPTED,
    "Preempted": Taken.PREEMPTED,
    "NodeShutdown": Taken.NODE_SHUTDOWN,
    "Shutdown": Taken.NODE_SHUTDOWN,
    "Terminated": Taken.NODE_SHUTDOWN,
    "NodeLost": Taken.NODE_SILENT,
}
# Reasons of a condition that its node's controller has written, for a node that says nothing itself.
OF_THE_NODE = frozenset({"NodeStatusUnknown", "NodeLost", "NodeNotReady", "NodeUnreachable"})


def unplaced(pod: Any, conditions: Conditions) -> Unplaced | None:
    if pod.spec.node_name:
        return None
    gates, scheduled = pod.spec.scheduling_gates or [], conditions.get("PodScheduled")
    if gates:
        return Unplaced(Place.GATED, ", ".join(gate.name for gate in gates))
    if scheduled is None or scheduled.status == "True":
        return Unplaced(Place.UNSEEN, pod.spec.scheduler_name or "default-scheduler")
    if scheduled.reason == "Unschedulable":
        return Unplaced(Place.UNSCHEDULABLE, words(scheduled.message) or "no node fits")
    if scheduled.reason == "SchedulingGated":
        return Unplaced(Place.GATED, words(scheduled.message) or "a gate without a name")
    return Unplaced(Place.SCHEDULER_TROUBLE, words(f"{scheduled.reason}: {scheduled.message or 'no details'}"))


def disruption_of(status: Any, conditions: Conditions) -> Disruption | None:
    """What the pod's own reason says goes first: a kubelet writes one condition for all that it ends."""
    if status is None:
        return None
    target = conditions.get("DisruptionTarget")
    aimed = target if target is not None and target.status == "True" else None
    by_reason = BY_REASON.get(status.reason or "")
    if by_reason is not None:
        return Disruption(by_reason, words(status.message or (aimed.message if aimed else "")))
    if aimed is None:
        return None
    return Disruption(BY_CONDITION.get(aimed.reason or "", Taken.EVICTED), words(aimed.message or aimed.reason))


def node_is_silent(status: Any, conditions: Conditions) -> bool:
    """A silent node's controller takes readiness from its pods; their containers stay ready, as they were."""
    ready, containers = conditions.get("Ready"), conditions.get("ContainersReady")
    if status is None or ready is None or ready.status == "True":
        return False
    if status.phase == "Unknown" or ready.status == "Unknown" or ready.reason in OF_THE_NODE:
        return True
    as_they_were = containers is not None and containers.status == "True"
    return as_they_were and ready.reason != "ReadinessGatesNotReady"
