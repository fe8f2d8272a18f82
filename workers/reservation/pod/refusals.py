"""Nodes that took a pod and gave it back before it ran: others are tried, so many times an hour."""

from datetime import datetime, timedelta
from typing import Any

import structlog

from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.reservation.secrets import secrets_of, without
from pgfleet.workers.reservation.tools import Turn, failed
from pgfleet.workers.runtime.outcomes import Outcome, wait

MOST = 5
COUNTED = timedelta(hours=1)
# A node that had no device or no memory left may have some again.
AVOIDED = timedelta(minutes=10)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def refused(row: Row, pod: PodState, turn: Turn) -> Outcome:
    """Preparing, with a new pod for another node; failed where too many have refused it."""
    assert pod.ended is not None  # noqa: S101  # the caller has looked
    why = pod.ended.text
    if pod.disruption is not None and not pod.ended.reason:
        why = f"{pod.disruption.taken}: {pod.disruption.message}"
    why = without(why, secrets_of(row))
    refusals = _with(row, pod, why, turn.now)
    if len(refusals) >= MOST:
        return failed(row, turn.view, f"{_nodes(refusals)} refused its pod: {why}", refusals=refusals)
    turn.hold()
    turn.tools.pods.delete(pod.name, pod.uid)
    log.warning("reservation.pod_refused", reservation_id=row.reservation_id, node=pod.node, reason=why)
    shown = f"Trying another node: {pod.node} refused it: {why}"
    return wait(row, shown, turn.later(turn.tools.settings.pod_poll_s), refusals=refusals)


def avoided(row: Row, turn: Turn) -> list[str]:
    """The nodes that a new pod is not for: those that refused it, and those that an operator lets nobody start on."""
    refusing = {refusal["node"] for refusal in _since(row, turn.now - AVOIDED) if refusal["node"]}
    return sorted(refusing | turn.view.cordoned.keys())


def elsewhere(body: dict[str, Any], nodes: list[str]) -> dict[str, Any]:
    """The pod, kept from these nodes, whatever else it asks of a node. A field may be compared with one value only."""
    if not nodes:
        return body
    for term in _node_terms(body):
        fields = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in nodes]
        term["matchFields"] = [*term.get("matchFields", []), *fields]
    return body


def kept(body: dict[str, Any], node: str | None) -> dict[str, Any]:
    """The pod, for this node only: on another it would take what is promised to somebody."""
    if node is None:
        return body
    for term in _node_terms(body):
        term["matchFields"] = [
            *term.get("matchFields", []),
            {"key": "metadata.name", "operator": "In", "values": [node]},
        ]
    return body


def _node_terms(body: dict[str, Any]) -> list[dict[str, Any]]:
    affinity = body["spec"].setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {"nodeSelectorTerms": [{}]})
    terms: list[dict[str, Any]] = required["nodeSelectorTerms"]
    return terms


def with_refusals(row: Row, turn: Turn, shown: str) -> str:
    """What is shown of a pod that is not the first."""
    refusals = _since(row, turn.now - COUNTED)
    return f"{shown} ({_nodes(refusals)} refused it, last {refusals[-1]['why']})" if refusals else shown


def _with(row: Row, pod: PodState, why: str, now: datetime) -> list[dict[str, Any]]:
    """A pod that is seen again before it is gone is refused once."""
    known = _since(row, now - COUNTED)
    if any(refusal.get("pod") == pod.uid for refusal in known):
        return known
    return [*known, {"node": pod.node, "pod": pod.uid, "at": now.isoformat(), "why": why}]


def _since(row: Row, moment: datetime) -> list[dict[str, Any]]:
    return [refusal for refusal in row.refusals if datetime.fromisoformat(refusal["at"]) > moment]


def _nodes(refusals: list[dict[str, Any]]) -> str:
    number = len({refusal["node"] for refusal in refusals})
    return "1 node" if number == 1 else f"{number} nodes"
