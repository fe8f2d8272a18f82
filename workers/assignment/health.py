"""Whether clusters answer, and whether what is counted is so: the breaker of each cluster, and the sweeps.

A breaker is one row that all workers read. Calls that failed are reported by messages, which are worked on one after
the other; so many in a row, or one refusal of our key, open it. Then nobody calls the cluster but the probe.
"""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog

from pgfleet.schema.assignment import CallAnswered, CallFailed, Probe
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.hopsworks import cluster_breakers
from pgfleet.workers.assignment.account import address
from pgfleet.workers.assignment.failures import failing, resolved
from pgfleet.workers.assignment.tools import ADMIT, Tools, Turn, close_account, hand_out, ticket
from pgfleet.workers.assignment.view import View
from pgfleet.workers.clients.hopsworks.client import ClusterError
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Change,
    Done,
    Move,
    NeverError,
    New,
    Outcome,
    Send,
    TryAgainError,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SEATS = "seats"
CHECKS = {"api_key": "api_key", "unreachable": "reachable"}
CLOSED = {"failures": 0, "kind": None, "reason": None, "opened_at": None, "retry_at": None}


def call(message: CallFailed | CallAnswered | Probe, turn: Turn) -> Outcome:
    """A report of what became of a call, or a probe of a cluster."""
    cluster = turn.view.clusters.get(message.cluster_id)
    if cluster is None or message.cluster_id not in turn.view.breakers:
        return Done("the cluster, or its breaker, is gone")
    match message:
        case CallFailed():
            return failed(message, cluster, turn)
        case CallAnswered():
            return answered(turn.view.breakers[message.cluster_id])
        case Probe():
            return probe(message, cluster, turn)


def failed(message: CallFailed, cluster: Row, turn: Turn) -> Outcome:
    """One more failure; the last of several in a row opens the breaker, a refused key at once."""
    breaker, settings = turn.view.breakers[message.cluster_id], turn.tools.settings
    if breaker.retry_at is not None:
        return Done("known already")
    failures = breaker.failures + (message.kind == "unreachable")
    if message.kind == "unreachable" and failures < settings.breaker_failures:
        return Advance((Move(breaker, None, values={"failures": failures}),))
    log.error("cluster.unanswered", cluster=cluster.name, kind=message.kind, reason=message.reason)
    why = Trouble(message.kind, message.reason, message.after_s or settings.breaker_open_s)
    return _open(breaker, cluster, why, turn, {"opened_at": turn.now, "failures": failures})


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a cluster is left alone, and for how long."""

    kind: str
    reason: str
    pause_s: float


def _open(breaker: Row, cluster: Row, why: Trouble, turn: Turn, values: dict[str, Any]) -> Outcome:
    retry_at = turn.later(why.pause_s)
    shown = {**values, "kind": why.kind, "reason": why.reason, "retry_at": retry_at}
    changes: tuple[Change, ...] = (Move(breaker, None, values=shown),)
    if why.kind in CHECKS:
        changes += failing(turn.view, cluster.id, CHECKS[why.kind], why.reason)
    return Advance(changes, (Send({"action": "probe", "cluster_id": str(cluster.id)}, retry_at),))


def answered(breaker: Row) -> Outcome:
    if breaker.failures == 0 or breaker.retry_at is not None:
        return Done("nothing to forget; an open breaker is closed by its probe")
    return Advance((Move(breaker, None, values={"failures": 0}),))


def probe(message: Probe, cluster: Row, turn: Turn) -> Outcome:
    """Closes the breaker of a cluster that answers again, and hands out tickets to all that have waited for it."""
    breaker = turn.view.breakers[message.cluster_id]
    if breaker.retry_at is None:
        return Done("it answers already")
    if turn.now < breaker.retry_at and not message.once:
        return Done("not yet: another probe is on its way")
    if cluster.status == "inactive":
        return Advance((Move(breaker, None, values=CLOSED),))
    try:
        turn.tools.hopsworks.probe(address(cluster, turn.tools))
    except (TryAgainError, NeverError) as error:
        if message.once:
            return Done(f"tried out of turn: {error}")
        return _open(breaker, cluster, _trouble(error, turn.tools), turn, {})
    log.info("cluster.answers", cluster=cluster.name)
    mended = [change for check in CHECKS.values() for change in resolved(turn.view, cluster.id, check)]
    stuck = [turn.view.rows[user_id] for user_id in turn.view.stuck.get(message.cluster_id, [])]
    closed = Advance((Move(breaker, None, values=CLOSED), *mended), (ADMIT,))
    return sum((hand_out(Move(row, None)) for row in stuck), closed)


def _trouble(error: Exception, tools: Tools) -> Trouble:
    kind = error.kind if isinstance(error, ClusterError) else "unreachable"
    return Trouble(kind, str(error)[:1000], getattr(error, "after_s", None) or tools.settings.breaker_open_s)


def sweep(view: View) -> Outcome:
    """Send again what was lost: tickets of live rows, probes of open breakers, messages that close accounts."""
    tickets = (ticket(*asked) for asked in view.turns["sweep"])
    probes = (Send({"action": "probe", "cluster_id": cluster_id}) for cluster_id in view.unprobed)
    closings = (close_account(*asked) for asked in view.unclosed)
    missing = view.clusters.keys() - view.breakers.keys()
    breakers = tuple(New(cluster_breakers, None, "was gone", {"cluster_id": UUID(gone)}) for gone in missing)
    then = (*tickets, *probes, *closings)
    return Advance(breakers, then) if breakers else Done("rows looked after", then)


def sweep_accounts(view: View) -> Outcome:
    """Tickets for the accounts that have not been looked at for long."""
    return Done("accounts looked after", tuple(ticket(*asked) for asked in view.turns["sweep_accounts"]))


def sweep_seats(view: View) -> Outcome:
    """Count anew; a cluster that changed meanwhile is counted once more."""
    changes: list[Change] = []
    for cluster_id, cluster in view.clusters.items():
        held, counted = view.counted.get(cluster_id, 0), cluster.current_users
        if held != counted:
            changes += _recounted(cluster, held, counted, view)
    return Advance(tuple(changes)) if changes else Done("all seats are counted right")


def _recounted(cluster: Row, held: int, counted: int | None, view: View) -> tuple[Change, ...]:
    """The seats that are held are right. More than there are can't be written: then the cluster is full."""
    details = f"MISMATCH: {counted} seats were counted as taken, {held} are"
    log.error("seats.mismatch", cluster=cluster.name, counted=counted, held=held, most=cluster.max_users)
    known = counted or 0
    right = held if held <= known else max(known, min(held, cluster.max_users or 0))
    repaired = () if right == counted else (Move(cluster, None, values={"current_users": right}),)
    if right != held:
        return (*repaired, *failing(view, cluster.id, SEATS, f"{details}, of {cluster.max_users}"))
    return (*repaired, *_noted(view, cluster, details))


def _noted(view: View, cluster: Row, details: str) -> tuple[Change, ...]:
    """The open record is closed, as the count is right again; without one, a record that is closed already."""
    open_already = resolved(view, cluster.id, SEATS)
    if open_already:
        return open_already
    (new,) = failing(view, cluster.id, SEATS, details)
    return (replace(new, values={**new.values, "resolved_at": view.now}),)
