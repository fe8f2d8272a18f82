"""Kubernetes quantities (`500m`, `16Gi`) as whole numbers: thousandths of a CPU, bytes, and counts."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

QUANTITY = re.compile(r"^(\d+(?:\.\d*)?|\.\d+)(m|k|[KMGTPE]i?|[eE]\d+)?$")
BINARY = {unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
DECIMAL = {unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)}
MULTIPLIERS = BINARY | DECIMAL | {"K": Decimal(1000), "m": Decimal("0.001")}


def parse_quantity(resource_name: str, text: Any) -> int:
    """Raises `ValueError` for text that is no quantity."""
    found = QUANTITY.match(str(text))
    if found is None:
        raise ValueError(f"quantities must match the regular expression: {text!r}")
    unit = found[2] or ""
    factor = MULTIPLIERS.get(unit) or (Decimal(10) ** int(unit[1:]) if unit else Decimal(1))
    amount = Decimal(found[1]) * factor
    return round(amount * 1000 if resource_name == "cpu" else amount)


def quantity(resource_name: str, amount: int) -> str:
    """As Kubernetes writes a number that `parse_quantity` has read."""
    if resource_name == "cpu":
        return f"{amount}m" if amount % 1000 else str(amount // 1000)
    if resource_name == "memory" and amount:
        for unit, factor in reversed(BINARY.items()):
            if amount % int(factor) == 0:
                return f"{amount // int(factor)}{unit}"
    return str(amount)
