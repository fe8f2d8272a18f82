"""What a pod asks of a node and what a node has to give."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.claims import claims_of
from pgfleet.console.sandbox.kubernetes.quantities import parse_quantity

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.claims import Reach
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Key

GPU = "nvidia.com/gpu"
OPTIONAL = ("cpu", "memory", "ephemeral-storage")  # counted only on nodes that declare them


@dataclass(frozen=True, slots=True)
class Demand:
    """Pods of the same demand fit in the same places."""

    selector: tuple[tuple[str, str], ...]
    amounts: tuple[tuple[str, int], ...]
    claims: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    labels: dict[str, str]
    allocatable: dict[str, int]
    unschedulable: bool
    gpus: int

    def selected_by(self, demand: Demand) -> bool:
        return all(self.labels.get(key) == value for key, value in demand.selector)

    def lacks(self, demand: Demand, used: Counter[str]) -> list[str]:
        """The names of the resources there is too little of."""
        return [name for name, amount in demand.amounts if not self._has(name, amount, used)]

    def _has(self, name: str, amount: int, used: Counter[str]) -> bool:
        if name not in self.allocatable and name in OPTIONAL:
            return True
        return used[name] + amount <= self.allocatable.get(name, 0)


def demand_of(pod: Object) -> Demand:
    amounts: Counter[str] = Counter()
    for container in pod["spec"]["containers"]:
        for name, amount in (container.get("resources", {}).get("requests") or {}).items():
            amounts[name] += parse_quantity(name, amount)
    selector = pod["spec"].get("nodeSelector") or {}
    return Demand(tuple(sorted(selector.items())), tuple(sorted((+amounts).items())), claims_of(pod))


def node_of(body: Object) -> Node:
    declared = body.get("status", {}).get("allocatable") or {}
    allocatable = {name: parse_quantity(name, amount) for name, amount in declared.items()}
    return Node(
        name=body["metadata"]["name"],
        labels=body["metadata"].get("labels") or {},
        allocatable=allocatable,
        unschedulable=bool(body.get("spec", {}).get("unschedulable")),
        gpus=allocatable.get(GPU, 0),
    )


def why_nowhere(demand: Demand, nodes: list[Node], used: dict[str, Counter[str]], reach: Reach) -> str:
    """The sentence kube-scheduler puts into its event."""
    if reach.missing:
        return f"0/{len(nodes)} nodes are available: {reach.missing}."
    reasons: Counter[str] = Counter()
    for node in nodes:
        if node.unschedulable:
            reasons["node(s) were unschedulable"] += 1
        elif not node.selected_by(demand):
            reasons["node(s) didn't match Pod's node affinity/selector"] += 1
        elif not reach.includes(node.labels):
            reasons["node(s) had volume node affinity conflict"] += 1
        else:
            reasons.update(f"Insufficient {name}" for name in node.lacks(demand, used[node.name]))
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"0/{len(nodes)} nodes are available: {listed or 'no nodes available to schedule pods'}."
