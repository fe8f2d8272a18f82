"""Taints of nodes, and what pods tolerate: whether one may go to a node, and how long it may stay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfleet.console.sandbox.kubernetes.resources import Object

    Taint = tuple[str, str, str]  # key, value, effect
    Toleration = tuple[str, str, str, str, float]  # key, operator, value, effect, seconds

KEPT_OUT = ("NoSchedule", "NoExecute")
UNREACHABLE, NOT_READY = "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
# What every pod gets at its creation that doesn't say otherwise.
USUAL_STAY_S = 300.0


def taints_of(node: Object) -> tuple[Taint, ...]:
    listed = (node.get("spec") or {}).get("taints") or ()
    return tuple((taint["key"], taint.get("value") or "", taint["effect"]) for taint in listed)


def tolerations_of(pod: Object) -> tuple[Toleration, ...]:
    """With the two that the API server adds where a pod says nothing of them."""
    found = tuple(_toleration(each) for each in pod["spec"].get("tolerations") or ())
    usual = (
        (key, "Exists", "", "NoExecute", USUAL_STAY_S)
        for key in (NOT_READY, UNREACHABLE)
        if not any(_covers(each, (key, "", "NoExecute")) for each in found)
    )
    return (*found, *usual)


def is_kept_out(taints: Iterable[Taint], tolerations: tuple[Toleration, ...]) -> bool:
    return any(
        taint[2] in KEPT_OUT and not any(_covers(toleration, taint) for toleration in tolerations) for taint in taints
    )


def stay_s(taints: Iterable[Taint], tolerations: tuple[Toleration, ...]) -> float:
    """How long a pod may stay on a node of such taints: none at all, some seconds, or for ever (infinity)."""
    longest = math.inf
    for taint in taints:
        if taint[2] == "NoExecute":
            allowed = [toleration[4] for toleration in tolerations if _covers(toleration, taint)]
            longest = min(longest, min(allowed, default=0.0))
    return longest


def _toleration(each: Object) -> Toleration:
    seconds = each.get("tolerationSeconds")
    return (
        each.get("key") or "",
        each.get("operator") or "Equal",
        each.get("value") or "",
        each.get("effect") or "",
        math.inf if seconds is None else max(0.0, float(seconds)),
    )


def _covers(toleration: Toleration, taint: Taint) -> bool:
    key, operator, value, effect, _ = toleration
    if effect not in ("", taint[2]) or key not in ("", taint[0]):
        return False
    return operator == "Exists" or (bool(key) and value == taint[1])
