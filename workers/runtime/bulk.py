"""A claim whose messages are answered by set-based statements, all in one transaction.

What makes such a transaction fail is found by halving, and fails alone: the rest commits.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
import structlog

from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Connection
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.bench import UNREACHABLE, Bench, with_connection
from pgfleet.workers.runtime.hand import Task
from pgfleet.workers.runtime.kind import Aside, BulkKind
from pgfleet.workers.runtime.outcomes import Reject, Wait
from pgfleet.workers.runtime.settle import ABOUT_THE_UNIT, Unit
from pgfleet.workers.runtime.verdict import Case, decide

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# How soon a message is looked at again whose row is not known yet, or held by somebody.
LOOK_AGAIN_S = 5
# Whoever holds a row for longer is not waited for: the others go on without it.
LOCK_TIMEOUT = "500ms"
CLASHES = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
CLASH_LIMIT = 5


def apply_in_bulk(
    bench: Bench, kind: BulkKind[Any], group: Sequence[Task], *, skip_held: bool = False
) -> list[tuple[Task, Exception]]:
    """Answer messages together; what is left are those that fail alone, with the reason."""
    if not group:
        return []
    error = _try(bench, kind, group, skip_held=skip_held)
    if error is None:
        bench.hand.drop(task.delivery.token for task in group)
        return []
    if isinstance(error, psycopg.errors.LockNotAvailable) and not skip_held:
        return apply_in_bulk(bench, kind, group, skip_held=True)
    if len(group) == 1:
        return [(group[0], error)]
    middle = len(group) // 2
    halves = (group[:middle], group[middle:])
    return [left for half in halves for left in apply_in_bulk(bench, kind, half, skip_held=skip_held)]


def _try(bench: Bench, kind: BulkKind[Any], group: Sequence[Task], *, skip_held: bool) -> Exception | None:
    """Why these messages could not be answered together; None if they were.

    Raises:
        one of UNREACHABLE: the server is away, and nothing is wrong with the messages.
    """

    def once(conn: Connection) -> Exception | None:
        # What the server says of these messages is no reason to look for another connection.
        try:
            _commit(conn, bench, kind, group, skip_held=skip_held)
        except (*CLASHES, *ABOUT_THE_UNIT) as error:
            return error
        return None

    error: Exception | None = None
    for _ in range(CLASH_LIMIT):
        try:
            error = with_connection(bench, once)
        except UNREACHABLE:
            raise
        except Exception as other:  # noqa: BLE001  # any exception is an outcome
            return other
        if not isinstance(error, CLASHES):
            break
    return error


def _commit(conn: Connection, bench: Bench, kind: BulkKind[Any], group: Sequence[Task], *, skip_held: bool) -> None:
    """Delete what is still ours and apply it, or nothing of both."""
    with conn.transaction():
        kernel.sign(conn, bench.author.name, bench.author.timeout_s, LOCK_TIMEOUT)
        gone = {row[0] for row in kernel.delete(conn, kind.queue, [task.delivery.token for task in group])}
        ours = [task for task in group if task.delivery.token.msg_id in gone]
        asides = kind.apply(conn, [task.message for task in ours], bench.settings, skip_held=skip_held)
        if asides:
            now = _now(conn)
            units = [_set_aside(bench, ours[aside.place], aside, now) for aside in asides if aside.verdict != "note"]
            _answer(conn, kind.queue, units)
    _tell(kind, ours, asides, lost=len(group) - len(ours))


def _now(conn: Connection) -> datetime:
    row = conn.execute("select public.fleet_now()").fetchone()
    assert row is not None  # noqa: S101  # for the type checker
    now: datetime = row[0]
    return now


def _set_aside(bench: Bench, task: Task, aside: Aside, now: datetime) -> Unit:
    """A message whose row is not known waits a while for it: another message may make it."""
    case = Case(bench.kind, bench.settings, task.delivery, task.message)
    if aside.verdict == "held":
        return decide(case, Wait(aside.reason, now + timedelta(seconds=LOOK_AGAIN_S)))
    until = task.delivery.sent_at + timedelta(seconds=bench.settings.unknown_row_s)
    if aside.verdict == "wait" and now < until:
        return decide(case, Wait(aside.reason, min(now + timedelta(seconds=LOOK_AGAIN_S), until)))
    if aside.verdict == "done":
        return Unit(task.delivery, "done", aside.reason)
    return decide(case, Reject(aside.reason))


def _answer(conn: Connection, queue: str, units: Sequence[Unit]) -> None:
    fresh = [message for unit in units for _, message in unit.sends]
    if fresh:
        kernel.send(conn, queue, fresh)
    letters = [unit.letter for unit in units if unit.letter]
    if letters:
        kernel.bury(conn, queue, letters)


def _tell(kind: BulkKind[Any], ours: list[Task], asides: list[Aside], lost: int) -> None:
    if lost:
        metrics.LEASES_LOST.labels(kind.queue).inc(lost)
        log.warning("lease.lost", queue=kind.queue, messages=lost)
    taken = len(ours) - sum(aside.verdict != "note" for aside in asides)
    metrics.SETTLED.labels(kind.queue, "advance").inc(taken)
    log.debug("messages.taken", kind=kind.name, messages=taken)
    for aside in asides:
        metrics.SETTLED.labels(kind.queue, aside.verdict).inc()
        task = ours[aside.place]
        log.info(
            f"message.{aside.verdict}",  # noqa: G004  # one of four constant names
            kind=kind.name,
            msg_id=task.delivery.token.msg_id,
            row=task.key,
            reason=aside.reason,
        )
