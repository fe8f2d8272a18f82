"""What a pod asks of a node and what a node has to give."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.affinities import affinity_of, is_required
from pgfleet.console.sandbox.kubernetes.claims import claims_of
from pgfleet.console.sandbox.kubernetes.company import Company, company_of
from pgfleet.console.sandbox.kubernetes.priorities import priority_of
from pgfleet.console.sandbox.kubernetes.quantities import parse_quantity
from pgfleet.console.sandbox.kubernetes.taints import is_kept_out, taints_of, tolerations_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgfleet.console.sandbox.kubernetes.claims import Reach
    from pgfleet.console.sandbox.kubernetes.company import Placed
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Key
    from pgfleet.console.sandbox.kubernetes.taints import Taint, Toleration

GPU = "nvidia.com/gpu"
OPTIONAL = ("cpu", "memory", "ephemeral-storage")  # counted only on nodes that declare them
# The scheduler spreads pods by these two; one that asks for none is taken for so much: 100m and 200 MB.
SPREAD_BY = {"cpu": 100, "memory": 200 * 1024**2}


@dataclass(frozen=True, slots=True)
class Demand:
    """Pods of the same demand fit in the same places."""

    selector: tuple[tuple[str, str], ...]
    amounts: tuple[tuple[str, int], ...]
    claims: tuple[Key, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    affinity: bytes = b""
    priority: int = 0
    preempts: bool = True
    company: Company | None = None
    spread: tuple[tuple[str, int], ...] = ()  # what it is taken for when nodes are compared


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    labels: dict[str, str]
    allocatable: dict[str, int]
    unschedulable: bool
    gpus: int
    taints: tuple[Taint, ...] = ()

    def selected_by(self, demand: Demand) -> bool:
        chosen = all(self.labels.get(key) == value for key, value in demand.selector)
        return chosen and is_required(demand.affinity, self.name, self.labels)

    def lacks(self, demand: Demand, used: Mapping[str, int]) -> list[str]:
        """The names of the resources there is too little of."""
        return [
            name
            for name, amount in demand.amounts
            if used.get(name, 0) + amount > self.allocatable.get(name, 0)
            and (name in self.allocatable or name not in OPTIONAL)
        ]

    def closed(self, demand: Demand) -> str:
        """Why no pod of this demand goes here whatever ends here, in the order of the scheduler's filters; or empty."""
        if self.unschedulable:
            return "node(s) were unschedulable"
        if is_kept_out(self.taints, demand.tolerations):
            return "node(s) had untolerated taint(s)"
        return "" if self.selected_by(demand) else "node(s) didn't match Pod's node affinity/selector"

    def score(self, demand: Demand, used: Mapping[str, int]) -> int:
        """The mean of the free hundredths of CPU and memory with the pod on it: the least allocated node is best."""
        free = counted = 0
        for name, amount in demand.spread:
            most = self.allocatable.get(name, 0)
            if most:
                counted += 1
                free += max(0, most - used.get(name, 0) - amount) * 100 // most
        return free // counted if counted else 0


def demand_of(pod: Object) -> Demand:
    amounts: Counter[str] = Counter()
    for container in pod["spec"]["containers"]:
        for name, amount in (container.get("resources", {}).get("requests") or {}).items():
            amounts[name] += parse_quantity(name, amount)
    selector = pod["spec"].get("nodeSelector") or {}
    priority, preempts = priority_of(pod)
    return Demand(
        selector=tuple(sorted(selector.items())),
        amounts=tuple(sorted((+amounts).items())),
        claims=claims_of(pod),
        tolerations=tolerations_of(pod),
        affinity=affinity_of(pod),
        priority=priority,
        preempts=preempts,
        company=company_of(pod),
        spread=tuple((name, amounts.get(name, least)) for name, least in SPREAD_BY.items()),
    )


def node_of(body: Object) -> Node:
    declared = body.get("status", {}).get("allocatable") or {}
    allocatable = {name: parse_quantity(name, amount) for name, amount in declared.items()}
    return Node(
        name=body["metadata"]["name"],
        labels=body["metadata"].get("labels") or {},
        allocatable=allocatable,
        unschedulable=bool(body.get("spec", {}).get("unschedulable")),
        gpus=allocatable.get(GPU, 0),
        taints=taints_of(body),
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a pod finds: what is used of each node, where its volumes are, and the pods that it may have to go to."""

    used: Mapping[str, Mapping[str, int]]
    reach: Reach
    placed: list[Placed]


def why_nowhere(demand: Demand, nodes: list[Node], seen: Seen) -> str:
    """The sentences that kube-scheduler puts into the condition and its event."""
    reach = seen.reach
    available = f"0/{len(nodes)} nodes are available:"
    if not nodes:
        return "no nodes available to schedule pods"
    if reach.missing:
        return f"{available} {reach.missing}. {_preemption(demand, len(nodes), 0)}"
    reasons: Counter[str] = Counter()
    final = 0
    for node in nodes:
        found = list(_why_not(node, demand, seen))
        reasons.update(found)
        final += not all(reason.startswith("Insufficient") for reason in found)
    return f"{available} {_histogram(reasons)}. {_preemption(demand, len(nodes), final)}"


def _why_not(node: Node, demand: Demand, seen: Seen) -> Iterator[str]:
    """The first filter that a node fails says why."""
    closed, lacks = node.closed(demand), node.lacks(demand, seen.used[node.name])
    if closed:
        yield closed
    elif lacks:
        yield from (f"Insufficient {name}" for name in lacks)
    elif not seen.reach.includes(node.labels):
        yield "node(s) didn't match PersistentVolume's node affinity"
    elif demand.company and (refusal := demand.company.refusal(node.labels, seen.placed)):
        yield refusal


def _preemption(demand: Demand, nodes: int, final: int) -> str:
    """`final` nodes would not take the pod even if all others on them ended."""
    if not demand.preempts:
        return "preemption: not eligible due to preemptionPolicy=Never.."
    reasons = Counter({"No preemption victims found for incoming pod": nodes - final})
    reasons["Preemption is not helpful for scheduling"] = final
    return f"preemption: 0/{nodes} nodes are available: {_histogram(+reasons)}.."


def _histogram(reasons: Counter[str]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
