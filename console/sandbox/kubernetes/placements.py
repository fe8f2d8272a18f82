"""Which pods are on which nodes, and what is left there."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.demands import GPU, Demand, Node, node_of
from pgfleet.console.sandbox.kubernetes.rejections import why_rejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgfleet.console.sandbox.kubernetes.resources import Object


MOST_REMEMBERED = 1000


class Placements:
    """`nodes` by name, `pods` by uid with the node's name, `used` by node, and how many pods are of each priority."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.pods: dict[str, tuple[str, Demand]] = {}
        self.used: dict[str, Counter[str]] = defaultdict(Counter)
        self._priorities: Counter[int] = Counter()
        self._open: dict[Demand, list[Node]] = {}  # until a node changes

    def see(self, name: str, body: Object | None) -> None:
        """A node came, changed or, without a body, went."""
        self._open.clear()
        self.nodes.pop(name, None)
        if body is not None:
            self.nodes[name] = node_of(body)

    def open_to(self, demand: Demand) -> list[Node]:
        """The nodes that would take a pod of this demand if they had room."""
        found = self._open.get(demand)
        if found is None:
            if len(self._open) > MOST_REMEMBERED:
                self._open.clear()
            found = self._open[demand] = [node for node in self.nodes.values() if not node.closed(demand)]
        return found

    def hold(self, uid: str, node: str, demand: Demand) -> None:
        self.pods[uid] = node, demand
        self.used[node].update(dict(demand.amounts))
        self._priorities[demand.priority] += 1

    def give_back(self, uid: str) -> bool:
        """Whether the pod had a place."""
        if uid not in self.pods:
            return False
        node, demand = self.pods.pop(uid)
        self.used[node].subtract(dict(demand.amounts))
        self._priorities[demand.priority] -= 1
        return True

    def has_below(self, priority: int) -> bool:
        """Whether there is a pod that one of this priority may preempt."""
        return any(count and each < priority for each, count in self._priorities.items())

    def on(self, node: str) -> list[tuple[str, Demand]]:
        return [(uid, demand) for uid, (name, demand) in self.pods.items() if name == node]

    def used_with(self, promised: Iterable[tuple[str, Demand]]) -> Mapping[str, Mapping[str, int]]:
        """What is used if these nodes are also kept for these demands."""
        kept = list(promised)
        if not kept:
            return self.used
        used = defaultdict(Counter, {name: Counter(amounts) for name, amounts in self.used.items()})
        for node, demand in kept:
            used[node].update(dict(demand.amounts))
        return used

    def rejection(self, uid: str) -> tuple[str, str] | None:
        """What the pod's node would say of it, seen what else is on it."""
        name, demand = self.pods.get(uid, ("", None))
        node = self.nodes.get(name)
        if node is None or demand is None:
            return None
        others = Counter(self.used[name])
        others.subtract(dict(demand.amounts))
        return why_rejected(demand, node, others)

    def capacity(self, label: str) -> dict[str, dict[str, int]]:
        """Total and requested GPUs by the value of a node label."""
        sums: dict[str, dict[str, int]] = {}
        for node in self.nodes.values():
            entry = sums.setdefault(node.labels.get(label, ""), {"total": 0, "requested": 0})
            entry["total"] += node.gpus
            entry["requested"] += self.used[node.name][GPU]
        return sums
