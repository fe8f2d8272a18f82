"""Preemption: which pods of lower priority have to go from a node, so that one of higher priority fits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgfleet.console.sandbox.kubernetes.claims import Reach
    from pgfleet.console.sandbox.kubernetes.demands import Demand, Node
    from pgfleet.console.sandbox.kubernetes.placements import Placements

MESSAGE = "default-scheduler: preempting to accommodate a higher priority pod"


@dataclass(frozen=True, slots=True)
class Victims:
    """The pods of a node, by uid, that go: the fewest of them, and of the lowest priority."""

    node: Node
    uids: tuple[str, ...]
    priorities: tuple[int, ...]

    @property
    def cost(self) -> tuple[int, int, int]:
        """Nodes are compared by the highest priority that would go, by the sum, by the number."""
        return max(self.priorities, default=0), sum(self.priorities), len(self.uids)


def cheapest_victims(
    placements: Placements, demand: Demand, used: Mapping[str, Mapping[str, int]], reach: Reach
) -> Victims | None:
    """None where the end of no pods would make room. Only nodes are looked at that would take the pod."""
    open_ones = [each for each in placements.open_to(demand) if reach.includes(each.labels)]
    if reach.missing:
        return None
    found = (_victims_on(node, demand, placements.on(node.name), used[node.name]) for node in open_ones)
    return min((each for each in found if each and each.uids), key=lambda each: each.cost, default=None)


def _victims_on(
    node: Node, demand: Demand, placed: Iterable[tuple[str, Demand]], used: Mapping[str, int]
) -> Victims | None:
    """None where the pod would not fit even so. `placed` are the pods of the node, the oldest first."""
    lower = [(uid, theirs) for uid, theirs in placed if theirs.priority < demand.priority]
    left = Counter(used)
    for _, theirs in lower:
        left.subtract(dict(theirs.amounts))
    if node.lacks(demand, left) or not lower:
        return None
    gone = []
    for uid, theirs in sorted(lower, key=lambda each: -each[1].priority):
        with_it = left + Counter(dict(theirs.amounts))
        if node.lacks(demand, with_it):
            gone.append((uid, theirs.priority))
        else:
            left = with_it
    return Victims(node, tuple(uid for uid, _ in gone), tuple(priority for _, priority in gone))
