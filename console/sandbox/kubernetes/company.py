"""Pod affinity and anti-affinity: beside which other pods a pod has to be, and beside which it must not be.

What pods that are placed already demand of those who come is not looked at, nor are terms that are only preferred.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.selectors import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pgfleet.console.sandbox.kubernetes.resources import Object

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NOT_NEAR = "node(s) didn't match pod affinity rules"
NOT_APART = "node(s) didn't match pod anti-affinity rules"

# Labels of a placed pod, and those of its node.
Placed = tuple["Mapping[str, str]", "Mapping[str, str]"]


@dataclass(frozen=True, slots=True)
class Term:
    """Pods that are chosen by their labels, and the label of nodes that says what is the same place."""

    place: str
    chosen: tuple[Requirement, ...]

    def chooses(self, labels: Mapping[str, str]) -> bool:
        return all(each.holds(labels) for each in self.chosen)

    def places(self, placed: Iterable[Placed]) -> set[str]:
        """Where pods of those are."""
        return {node[self.place] for pod, node in placed if self.place in node and self.chooses(pod)}


@dataclass(frozen=True, slots=True)
class Company:
    near: tuple[Term, ...]
    apart: tuple[Term, ...]
    labels: tuple[tuple[str, str], ...]  # the pod's own

    def refusal(self, node: Mapping[str, str], placed: list[Placed]) -> str:
        """Why a node with these labels is none for it; or empty."""
        if not all(term.place in node for term in self.near):
            return NOT_NEAR
        if any(node[term.place] not in term.places(placed) for term in self.near) and not self._is_first(placed):
            return NOT_NEAR
        if any(node.get(term.place) in term.places(placed) for term in self.apart):
            return NOT_APART
        return ""

    def _is_first(self, placed: list[Placed]) -> bool:
        """The first of those that want to be together goes anywhere."""
        own = dict(self.labels)
        return all(term.chooses(own) and not term.places(placed) for term in self.near)


def company_of(pod: Object) -> Company | None:
    affinity = pod["spec"].get("affinity") or {}
    near = tuple(_terms(affinity.get("podAffinity")))
    apart = tuple(_terms(affinity.get("podAntiAffinity")))
    own = tuple(sorted((pod["metadata"].get("labels") or {}).items()))
    return Company(near, apart, own) if near or apart else None


def _terms(rules: Object | None) -> Iterator[Term]:
    for term in (rules or {}).get(REQUIRED) or ():
        selector = term.get("labelSelector") or {}
        equal = (Requirement(key, "=", value) for key, value in (selector.get("matchLabels") or {}).items())
        yield Term(term["topologyKey"], (*equal, *map(_requirement, selector.get("matchExpressions") or ())))


def _requirement(expression: Object) -> Requirement:
    match expression["operator"]:
        case "Exists":
            return Requirement(expression["key"], "exists")
        case "DoesNotExist":
            return Requirement(expression["key"], "!")
        case operator:
            values = tuple(expression.get("values") or ())
            return Requirement(expression["key"], "in" if operator == "In" else "notin", values=values)
