"""A ResourceQuota: how much of everything a namespace may hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.quantities import parse_quantity, quantity
from pgfleet.console.sandbox.kubernetes.refusals import CHANGED, conflict
from pgfleet.console.sandbox.kubernetes.store import FINISHED

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.rules.new import New
    from pgfleet.console.sandbox.kubernetes.store import Store

COMPUTE = ("cpu", "memory")  # what a container must ask for where a quota counts it


@dataclass(slots=True)
class Quota:
    """`hard` as in the object, such as `requests.nvidia.com/gpu`; the next `conflicts` charges meet another one."""

    name: str = "gpus"
    hard: dict[str, str] = field(default_factory=dict)
    conflicts: int = 0

    def check(self, new: New, store: Store) -> None:
        self._check_specified(new)
        asked = _usage(new.plural, new.body)
        if not asked.keys() & self.hard.keys():
            return
        if self.conflicts and not new.dry_run:
            self.conflicts -= 1
            raise conflict("resourcequotas", self.name, CHANGED)
        used = self._used(new, store)
        limits = {name: parse_quantity(_unit(name), amount) for name, amount in self.hard.items()}
        over = sorted(name for name in limits if asked[name] and used[name] + asked[name] > limits[name])
        if over:
            shown = [_listed(over, amounts) for amounts in (asked, used, limits)]
            raise new.forbidden(
                f"exceeded quota: {self.name}, requested: {shown[0]}, used: {shown[1]}, limited: {shown[2]}"
            )

    def _used(self, new: New, store: Store) -> Counter[str]:
        used: Counter[str] = Counter()
        for record in store.select(new.plural, new.key[1]):
            if record.fields.get("status.phase") not in FINISHED:
                used.update(_usage(new.plural, record.body()))
        return used

    def _check_specified(self, new: New) -> None:
        missing = [
            f"{name} for: {container['name']}"
            for name in sorted(self.hard)
            for container in new.containers()
            if not _is_specified(name, container)
        ]
        if missing:
            raise new.forbidden(f"failed quota: {self.name}: must specify {'; '.join(missing)}")


def _is_specified(name: str, container: Object) -> bool:
    kind, _, resource = name.rpartition(".") if name.count(".") == 1 else ("requests", "", name)
    if resource not in COMPUTE or kind not in ("requests", "limits"):
        return True
    return resource in (container.get("resources", {}).get(kind) or {})


def _usage(plural: str, body: Object) -> Counter[str]:
    usage = Counter({f"count/{plural}": 1, plural: 1})
    spec = body.get("spec") or {}
    if plural == "services" and spec.get("type") in ("NodePort", "LoadBalancer"):
        usage["services.nodeports"] += len(spec["ports"])
    if plural == "pods":
        for container in spec["containers"]:
            for kind, amounts in (container.get("resources") or {}).items():
                for resource, amount in (amounts or {}).items() if kind in ("requests", "limits") else ():
                    usage[f"{kind}.{resource}"] += parse_quantity(resource, amount)
        usage |= {name: usage[f"requests.{name}"] for name in COMPUTE}
    return usage


def _listed(names: list[str], amounts: Counter[str] | dict[str, int]) -> str:
    return ",".join(f"{name}={quantity(_unit(name), amounts[name])}" for name in names)


def _unit(name: str) -> str:
    return name.removeprefix("requests.").removeprefix("limits.")
