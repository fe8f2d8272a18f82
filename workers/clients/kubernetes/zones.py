"""Where a pod could go, zone by zone: a volume is in one zone, and pods on machines of another can't have it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubernetes.utils.quantity import parse_quantity

ZONE = "topology.kubernetes.io/zone"
GPU_TYPE = "GpuType"
GPU = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True)
class Machine:
    """A node as it was when it was read; `zone` is None where its label is missing."""

    name: str
    zone: str | None
    gpus: int
    open: bool  # ready, neither cordoned nor closed by a taint
    labels: Mapping[str, str] = field(default_factory=dict)


def amount(resources: Mapping[str, Any]) -> int:
    """How many GPUs are among some resources; Kubernetes writes a thousand as `1k`."""
    return int(parse_quantity(resources.get(GPU) or 0))  # type: ignore[no-untyped-call]


def machine(node: Any, closed: str | None = None) -> Machine:
    """The parts of a `V1Node` that matter here; `closed` is a taint by which it takes no pod."""
    status, spec = node.status, node.spec
    conditions = {each.type: each.status for each in (status.conditions if status else None) or []}
    return Machine(
        name=node.metadata.name,
        zone=(node.metadata.labels or {}).get(ZONE) or None,
        gpus=amount((status.allocatable if status else None) or {}),
        open=conditions.get("Ready") == "True" and not (spec and spec.unschedulable) and closed is None,
        labels=node.metadata.labels or {},
    )


def gpus_in_use(pods: Iterable[Any]) -> Counter[str]:
    """GPUs by node, of `V1Pod`s that have a node and still run."""
    used: Counter[str] = Counter()
    for pod in pods:
        if pod.spec.node_name and not (pod.status and pod.status.phase in ("Succeeded", "Failed")):
            used[pod.spec.node_name] += sum(_gpus(container) for container in pod.spec.containers)
    return used


def zones_with_room(machines: Iterable[Machine], used: Counter[str], gpus: int) -> list[str]:
    """Zones in which one machine has this many GPUs free, the one with the most free GPUs first.

    Without GPUs to look for, the one with the most machines first.
    """
    room: Counter[str] = Counter()
    fit = set()
    for each in machines:
        if each.zone is None or not each.open:
            continue
        free = max(0, each.gpus - used[each.name])
        room[each.zone] += free if gpus else 1
        if free >= gpus:
            fit.add(each.zone)
    return sorted(fit, key=lambda zone: (-room[zone], zone))


@dataclass(frozen=True, slots=True)
class Together:
    """What a gang asks: so many nodes with so many GPUs, all with the same value of each of these labels.

    None of them is among those `avoided`; those that some of its pods are `kept_to` are among them.
    """

    nodes: int
    gpus: int
    labels: Sequence[str]
    avoided: Container[str] = ()
    kept_to: Collection[str] = ()


def places_together(machines: Sequence[Machine], used: Counter[str], asked: Together) -> list[dict[str, str]]:
    """The values of those labels that a gang could have, the place with the most room first.

    A label that no machine has says nothing of where they are; one that only some have leaves out the rest.
    """
    labels = [label for label in asked.labels if any(label in each.labels for each in machines)]
    room: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for each in machines:
        free = max(0, each.gpus - used[each.name])
        has_room = each.open and free >= asked.gpus and each.name not in asked.avoided
        if has_room and all(label in each.labels for label in labels):
            room[tuple(each.labels[label] for label in labels)][each.name] = free if asked.gpus else 1
    fit = [place for place, free in room.items() if len(free) >= asked.nodes and free.keys() >= set(asked.kept_to)]
    fit.sort(key=lambda place: (-sum(room[place].values()), place))
    return [dict(zip(labels, place, strict=True)) for place in fit]


def _gpus(container: Any) -> int:
    resources = container.resources
    return amount((resources.requests if resources else None) or {})
