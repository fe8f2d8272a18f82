"""One pod's body over another, as Kubernetes' strategic merge does it: lists by their key, the upper one wins."""

from collections.abc import Mapping
from typing import Any

# The lists that are merged, and by what; whatever else is a list is replaced whole.
KEYS = {
    "containers": "name",
    "env": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
# Lists of things without a key: those of both.
JOINED = frozenset({"tolerations"})


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A new body: what only one of them says is kept, and of what both say, what `over` says."""
    body = dict(under)
    for field, value in over.items():
        body[field] = _both(field, under[field], value) if field in under else value
    return body


def _both(field: str, under: Any, over: Any) -> Any:
    if isinstance(under, Mapping) and isinstance(over, Mapping):
        return merged(under, over)
    if field in JOINED:
        return [*over, *(each for each in under if each not in over)]
    if field in KEYS:
        return _by_key(field, under, over)
    return over


def _by_key(field: str, under: list[dict[str, Any]], over: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order of `under`, then what is new; only containers are merged in themselves.

    A volume or a variable has one source: half of one and half of another would be none.
    """
    key = KEYS[field]
    found = {each[key]: each for each in under}
    for each in over:
        name = each[key]
        found[name] = merged(found[name], each) if field == "containers" and name in found else each
    return list(found.values())
