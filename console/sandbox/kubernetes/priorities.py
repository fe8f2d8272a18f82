"""Priority classes: a pod's priority is that of the class it names, or of the default one, or 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, forbidden

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object

PREEMPTS = "PreemptLowerPriority"
BUILT_IN = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


class Priorities:
    """Values by name of a class; `never` has those whose pods wait instead of preempting others."""

    def __init__(self) -> None:
        self._values = dict(BUILT_IN)
        self._never: set[str] = set()
        self._default = ""

    def order(self, wanted: Object) -> None:
        """Makes or changes a class. Raises `RefusedError` (400) for one without a name and a value."""
        try:
            name, value = str(wanted["name"]), int(wanted["value"])
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(400, f"a priority class has a name and a value: {error}") from error
        self._values[name] = value
        self._never.discard(name)
        if wanted.get("preemptionPolicy", PREEMPTS) == "Never":
            self._never.add(name)
        if wanted.get("globalDefault"):
            self._default = name

    def resolve(self, pod: Object) -> None:
        """As the API server does it at a pod's creation. Raises `RefusedError` (403) for a class that is not there."""
        spec = pod["spec"]
        name = spec.get("priorityClassName") or self._default
        if name:
            spec["priorityClassName"] = name
        if name and name not in self._values:
            raise forbidden("pods", pod["metadata"]["name"], f"no PriorityClass with name {name} was found")
        spec["priority"] = self._values.get(name, 0)
        spec["preemptionPolicy"] = "Never" if name in self._never else spec.get("preemptionPolicy", PREEMPTS)


def priority_of(pod: Object) -> tuple[int, bool]:
    """The priority, and whether the pod preempts others."""
    spec = pod["spec"]
    return int(spec.get("priority") or 0), spec.get("preemptionPolicy") != "Never"
