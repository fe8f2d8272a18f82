"""A claim whose messages are answered by set-based statements, all in one transaction.

What makes such a transaction fail is found by halving, and fails alone: the rest commits.
"""

from datetime import datetime, timedelta
from typing import Any

import psycopg
import structlog

from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Connection
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.decide import bury, decide
from pgfleet.workers.runtime.halves import in_halves
from pgfleet.workers.runtime.inside.counting import count_gone
from pgfleet.workers.runtime.inside.loading import LOADING, refusal_of
from pgfleet.workers.runtime.inside.trouble import LACKING
from pgfleet.workers.runtime.kind import BulkKind, Remark
from pgfleet.workers.runtime.outcomes import NotLoadedError, Wait
from pgfleet.workers.runtime.running import Running, with_connection
from pgfleet.workers.runtime.settle import CLASHES, Unit, is_gone
from pgfleet.workers.runtime.task import Task

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# How soon a message is looked at again whose row is not known yet, or held by somebody.
LOOK_AGAIN_S = 5
# A row that is locked for longer is not waited for: its message is looked at again later.
LOCK_TIMEOUT = "500ms"
CLASH_LIMIT = 5


def apply_in_bulk(
    running: Running, kind: BulkKind[Any], tasks: list[Task], *, skip_held: bool = False
) -> list[tuple[Task, Exception]]:
    """Answer messages together; what is left are those that fail alone, with the reason."""

    def attempt(part: list[Task]) -> list[tuple[Task, Exception]] | Exception:
        error = _try(running, kind, part, skip_held=skip_held)
        if isinstance(error, psycopg.errors.LockNotAvailable) and not skip_held:
            return apply_in_bulk(running, kind, part, skip_held=True)
        if isinstance(error, NotLoadedError):
            return [(task, error) for task in part]
        return error or []

    if not tasks:
        return []
    left = []
    for part, result in in_halves(tasks, attempt):
        left += [(part[0], result)] if isinstance(result, Exception) else result
    return left


def _try(running: Running, kind: BulkKind[Any], tasks: list[Task], *, skip_held: bool) -> Exception | None:
    """Why these messages could not be answered together; None if they were.

    Raises:
        one of UNREACHABLE: the server is away, and nothing is wrong with the messages.
    """

    def once(conn: Connection) -> Exception | None:
        try:
            _commit(conn, running, kind, tasks, skip_held=skip_held)
        except Exception as error:  # any exception is an outcome
            if is_gone(error) or isinstance(error, LACKING):
                raise
            return refusal_of(running, conn, error) or error
        running.trouble.over(LOADING)
        return None

    error: Exception | None = None
    for _ in range(CLASH_LIMIT):
        with running.progress.step(tasks):
            error = with_connection(running, once, "apply messages")
        if not isinstance(error, CLASHES):
            break
    return error


def _commit(conn: Connection, running: Running, kind: BulkKind[Any], tasks: list[Task], *, skip_held: bool) -> None:
    """Delete what is still ours and apply it, or nothing of both."""
    with conn.transaction():
        kernel.sign(conn, running.author.name, running.author.timeout_s, LOCK_TIMEOUT)
        gone = {row[0] for row in kernel.delete(conn, kind.queue, [task.token for task in tasks])}
        ours = [task for task in tasks if task.token.msg_id in gone]
        remarks = kind.apply(conn, ours, running.settings, skip_held=skip_held)
        if remarks:
            _answer(conn, running, ours, remarks)
    running.progress.answered(tasks)
    _log(kind, ours, remarks, lost=len(tasks) - len(ours))


def _answer(conn: Connection, running: Running, ours: list[Task], remarks: list[Remark]) -> None:
    """Write what becomes of the messages that were not simply taken."""
    row = conn.execute("select public.fleet_now()").fetchone()
    assert row is not None  # noqa: S101  # for the type checker
    units = [_unit(running, ours[remark.place], remark, row[0]) for remark in remarks if remark.verdict != "note"]
    fresh = [message for unit in units for _, message in unit.sends]
    if fresh:
        kernel.send(conn, running.kind.queue, fresh)
    letters = [unit.letter for unit in units if unit.letter]
    if letters:
        kernel.bury(conn, running.kind.queue, letters)


def _unit(running: Running, task: Task, remark: Remark, now: datetime) -> Unit:
    """A message whose row is not known waits a while for it: another message may make it."""
    soon, reason = now + timedelta(seconds=LOOK_AGAIN_S), remark.reason
    until = task.sent_at + timedelta(seconds=running.settings.unknown_row_s)
    match remark.verdict:
        case "held":
            return decide(running, task, Wait(reason, soon))
        case "wait" if now < until:
            return decide(running, task, Wait(reason, min(soon, until)))
        case "done":
            return Unit(task, "done", reason)
        case _:
            return bury(task, "reject", reason)


def _log(kind: BulkKind[Any], ours: list[Task], remarks: list[Remark], lost: int) -> None:
    if lost:
        metrics.LEASES_LOST.labels(kind.queue).inc(lost)
        log.warning("lease.lost", queue=kind.queue, messages=lost)
    taken = len(ours) - sum(remark.verdict != "note" for remark in remarks)
    metrics.SETTLED.labels(kind.queue, "advance").inc(taken)
    count_gone(kind.queue, ours)
    log.debug("messages.taken", kind=kind.name, messages=taken)
    for remark in remarks:
        metrics.SETTLED.labels(kind.queue, remark.verdict).inc()
        task = ours[remark.place]
        log.info(
            f"message.{remark.verdict}",  # noqa: G004  # one of four constant names
            kind=kind.name,
            msg_id=task.token.msg_id,
            row=task.key,
            reason=remark.reason,
        )
