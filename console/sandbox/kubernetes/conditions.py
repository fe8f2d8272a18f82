"""Conditions in an object's status."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.resources import Object


def set_condition(body: Object, kind: str, *, holds: bool, now: str, why: tuple[str, str] = ("", "")) -> None:
    """`why` is the reason and the message; the transition time changes only when the status does."""
    conditions = body["status"].setdefault("conditions", [])
    truth = "True" if holds else "False"
    current = next((each for each in conditions if each["type"] == kind), None)
    if current is None:
        current = {"type": kind, "lastProbeTime": None}
        conditions.append(current)
    if current.get("status") != truth:
        current |= {"status": truth, "lastTransitionTime": now}
    for field, text in zip(("reason", "message"), why, strict=True):
        current.pop(field, None)
        if text:
            current[field] = text
