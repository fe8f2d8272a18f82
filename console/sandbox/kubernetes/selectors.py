"""Label and field selectors: the text a request carries, parsed once and matched against many records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfleet.console.sandbox.kubernetes.resources import Resource

Operator = Literal["=", "!=", "exists", "!", "in", "notin"]

EQUALITY_TERM = re.compile(r"^([\w./-]+)\s*(==|=|!=)\s*([^=!\s]*)$")
BARE_TERM = re.compile(r"^(!?)\s*([\w./-]+)$")
SET_TERM = re.compile(r"^([\w./-]+)\s+(in|notin)\s*\(([^()]*)\)$")
COMMA = re.compile(r",(?![^(]*\))")  # that is in no parentheses


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: Operator
    value: str = ""
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "=":
                return value == self.value
            case "!=":
                return value != self.value
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values


@dataclass(frozen=True, slots=True)
class Selector:
    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
        return all(r.holds(labels) for r in self.labels) and all(r.holds(fields) for r in self.fields)

    def equalities(self) -> list[tuple[str, str, str]]:
        """The (`label` or `field`, key, value) terms that an index can answer."""
        return [
            (origin, requirement.key, requirement.value)
            for origin, requirements in (("label", self.labels), ("field", self.fields))
            for requirement in requirements
            if requirement.operator == "="
        ]


EVERYTHING = Selector()


def parse_selector(label_text: str, field_text: str, resource: Resource) -> Selector:
    """All that Kubernetes has but `<` and `>`. Raises `RefusedError` (400) for anything else."""
    if not label_text and not field_text:
        return EVERYTHING
    labels = tuple(_label_term(term) for term in _terms(label_text))
    return Selector(labels, tuple(_field_term(term, resource) for term in _terms(field_text)))


def _terms(text: str) -> list[str]:
    return [term.strip() for term in COMMA.split(text) if term.strip()]


def _label_term(term: str) -> Requirement:
    if found := EQUALITY_TERM.match(term):
        return _equality(found)
    if found := BARE_TERM.match(term):
        return Requirement(found[2], "!" if found[1] else "exists")
    if found := SET_TERM.match(term):
        values = tuple(value.strip() for value in found[3].split(","))
        return Requirement(found[1], "in" if found[2] == "in" else "notin", values=values)
    raise RefusedError(400, f"unable to parse requirement: {term!r}")


def _field_term(term: str, resource: Resource) -> Requirement:
    found = EQUALITY_TERM.match(term)
    if found is None:
        raise RefusedError(400, f"invalid selector: {term!r}; can't understand {term!r}")
    known = ("metadata.name", "metadata.namespace", *resource.fields)
    if found[1] not in known:
        raise RefusedError(400, f'field label not supported: "{found[1]}"')
    return _equality(found)


def _equality(found: re.Match[str]) -> Requirement:
    return Requirement(found[1], "!=" if found[2] == "!=" else "=", found[3])
