"""A LimitRange: how much one container may have, and what it gets where it says nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.quantities import parse_quantity

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.rules.new import New
    from pgfleet.console.sandbox.kubernetes.store import Store

Amounts = dict[str, str]


@dataclass(slots=True)
class LimitRange:
    """The fields of a limit of type `Container`, by their names in Kubernetes."""

    max: Amounts = field(default_factory=dict)
    min: Amounts = field(default_factory=dict)
    default: Amounts = field(default_factory=dict)
    default_request: Amounts = field(default_factory=dict)

    def __post_init__(self) -> None:
        """As the API server stores it: the most is the default, and the least is asked for."""
        self.default = self.max | self.default
        self.default_request = self.min | self.default | self.default_request

    def check(self, new: New, store: Store) -> None:  # noqa: ARG002 - as all rules
        faults = [fault for container in new.containers() for fault in self._faults(container)]
        if faults:
            raise new.forbidden(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")

    def _faults(self, container: Object) -> list[str]:
        resources = container.setdefault("resources", {})
        own = resources.get("limits") or {}
        limits = resources["limits"] = self.default | own
        requests = self.default | self.default_request | own | (resources.get("requests") or {})
        resources["requests"] = requests
        least = [_fault("minimum", name, floor, "request", requests) for name, floor in sorted(self.min.items())]
        most = [_fault("maximum", name, top, "limit", limits) for name, top in sorted(self.max.items())]
        return [fault for fault in least + most if fault]


def _fault(which: str, name: str, bound: str, what: str, amounts: Amounts) -> str:
    """Empty for an amount that is within its bound."""
    told = f"{which} {name} usage per Container is {bound}"
    if name not in amounts:
        return f"{told}.  No {what} is specified"
    amount, allowed = parse_quantity(name, amounts[name]), parse_quantity(name, bound)
    is_within = amount <= allowed if which == "maximum" else amount >= allowed
    return "" if is_within else f"{told}, but {what} is {amounts[name]}"
