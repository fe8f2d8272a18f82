"""Label and field selectors: the text a request carries, parsed once and matched against many records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfleet.console.sandbox.kubernetes.resources import Resource

Operator = Literal["in", "notin", "exists", "absent"]

SET_TERM = re.compile(r"^([\w./-]+)\s+(in|notin)\s*\(([^)]*)\)$")
EQUALITY_TERM = re.compile(r"^([\w./-]+)\s*(==|=|!=)\s*([^=!\s]*)$")
BARE_TERM = re.compile(r"^(!?)\s*([\w./-]+)$")
TOP_LEVEL_COMMA = re.compile(r",(?![^(]*\))")


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None


@dataclass(frozen=True, slots=True)
class Selector:
    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
        return all(r.holds(labels) for r in self.labels) and all(r.holds(fields) for r in self.fields)

    def equalities(self) -> list[tuple[str, str, str]]:
        """The (`label` or `field`, key, value) terms that an index can answer."""
        return [
            (origin, requirement.key, next(iter(requirement.values)))
            for origin, requirements in (("label", self.labels), ("field", self.fields))
            for requirement in requirements
            if requirement.operator == "in" and len(requirement.values) == 1
        ]


EVERYTHING = Selector()


def parse_selector(label_text: str, field_text: str, resource: Resource) -> Selector:
    """Raises `RefusedError` (400) for text Kubernetes would not accept either."""
    if not label_text and not field_text:
        return EVERYTHING
    return Selector(parse_labels(label_text), _parse_fields(field_text, resource))


def parse_labels(text: str) -> tuple[Requirement, ...]:
    return tuple(_label_term(term.strip()) for term in TOP_LEVEL_COMMA.split(text) if term.strip())


def _label_term(term: str) -> Requirement:
    if found := SET_TERM.match(term):
        values = frozenset(value.strip() for value in found[3].split(","))
        return Requirement(found[1], "in" if found[2] == "in" else "notin", values)
    if found := EQUALITY_TERM.match(term):
        return _equality(found)
    if found := BARE_TERM.match(term):
        return Requirement(found[2], "absent" if found[1] else "exists")
    raise RefusedError(400, f"unable to parse requirement: {term!r}")


def _parse_fields(text: str, resource: Resource) -> tuple[Requirement, ...]:
    terms = [term.strip() for term in text.split(",") if term.strip()]
    return tuple(_field_term(term, resource) for term in terms)


def _field_term(term: str, resource: Resource) -> Requirement:
    found = EQUALITY_TERM.match(term)
    if found is None:
        raise RefusedError(400, f"invalid selector: {term!r}; can't understand {term!r}")
    known = ("metadata.name", "metadata.namespace", *resource.fields)
    if found[1] not in known:
        raise RefusedError(400, f'field label not supported: "{found[1]}"')
    return _equality(found)


def _equality(found: re.Match[str]) -> Requirement:
    return Requirement(found[1], "notin" if found[2] == "!=" else "in", frozenset({found[3]}))
