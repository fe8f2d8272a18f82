"""Node affinity: whether a node's labels are among those that a pod or a volume requires."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfleet.console.sandbox.kubernetes.resources import Object


def affinity_of(pod: Object) -> bytes:
    """What a pod requires of its node, as bytes that can be compared; empty where it requires nothing."""
    node = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    return orjson.dumps(required, option=orjson.OPT_SORT_KEYS) if required else b""


def is_required(affinity: bytes, name: str, labels: Mapping[str, str]) -> bool:
    """Whether the node of this name and these labels is one of those."""
    return not affinity or selects(_parsed(affinity), labels, {"metadata.name": name})


def selects(affinity: Object, labels: Mapping[str, str], fields: Mapping[str, str] | None = None) -> bool:
    """Whether one of the terms holds, which it does when all that it asks for does; an empty term never holds."""
    return any(_holds(term, labels, fields or {}) for term in affinity.get("nodeSelectorTerms") or ())


def _holds(term: Object, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    asked = [(each, labels) for each in term.get("matchExpressions") or ()]
    asked += [(each, fields) for each in term.get("matchFields") or ()]
    return bool(asked) and all(_matches(each, values.get(each["key"])) for each, values in asked)


def _matches(expression: Object, value: str | None) -> bool:
    values = expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return _compares(expression["operator"], value, values)


def _compares(operator: str, value: str | None, values: Any) -> bool:
    try:
        number, limit = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return number > limit if operator == "Gt" else number < limit


@lru_cache(maxsize=1024)
def _parsed(affinity: bytes) -> Object:
    parsed: Object = orjson.loads(affinity)
    return parsed
