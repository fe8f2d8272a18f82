"""Requests and limits of a container."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.kubernetes.quantities import MULTIPLIERS
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
from pgfleet.console.sandbox.kubernetes.validation.faults import REQUIRED, invalid_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.resources import Object

QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(m|k|[KMGTPE]i?|[eE][+-]?\d+)?")
PATTERN = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
NATIVE = ("cpu", "memory", "ephemeral-storage")
NO_RESOURCE = ("must be a standard resource type or fully qualified", "must be a standard resource for containers")


def resources_faults(place: str, resources: Object) -> Iterator[tuple[str, str]]:
    """Raises `RefusedError` (400) for what is no quantity, as it can't be decoded."""
    limits, requests = ({n: _amount(a) for n, a in (resources.get(k) or {}).items()} for k in ("limits", "requests"))
    for name, limit in sorted(limits.items()):
        yield from _amount_faults(f"{place}.limits[{name}]", name, limit)
    for name, request in sorted(requests.items()):
        yield from _amount_faults(f"{place}.requests[{name}]", name, request)
        may_differ = "/" not in name and not name.startswith("hugepages-")
        if name in limits and request != limits[name] and not may_differ:
            why = f"must be equal to {name} limit of {_shown(limits[name])}"
            yield f"{place}.requests", invalid_value(_shown(request), why)
        elif name in limits and request > limits[name]:
            why = f"must be less than or equal to {name} limit of {_shown(limits[name])}"
            yield f"{place}.requests", invalid_value(_shown(request), why)
        elif name not in limits and not may_differ:
            yield f"{place}.limits", f"{REQUIRED}: Limit must be set for non overcommitable resources"


def _amount_faults(field: str, name: str, amount: Decimal) -> Iterator[tuple[str, str]]:
    is_extended = "/" in name
    if not is_extended and name not in NATIVE and not name.startswith("hugepages-"):
        yield from ((field, invalid_value(name, why)) for why in NO_RESOURCE)
    if amount < 0:
        yield field, invalid_value(_shown(amount), "must be greater than or equal to 0")
    if is_extended and amount % 1:
        yield field, invalid_value(_shown(amount), "must be an integer")


def _amount(text: Any) -> Decimal:
    found = QUANTITY.fullmatch(str(text))
    if found is None:
        why = f"quantities must match the regular expression '{PATTERN}'"
        raise RefusedError(400, f'Pod in version "v1" cannot be handled as a Pod: {why}')
    unit = found[2] or ""
    factor = MULTIPLIERS.get(unit) or (Decimal(10) ** int(unit[1:]) if unit else Decimal(1))
    return Decimal(found[1]) * factor


def _shown(amount: Decimal) -> str:
    return f"{amount * 1000:.0f}m" if amount % 1 else f"{amount:.0f}"
