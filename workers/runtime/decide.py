"""What is written for a message, by what its step has returned or raised: one case for each outcome."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any, assert_never

import psycopg

from pgfleet.schema.database.dsn import redact
from pgfleet.schema.messages import CONTRACT, TOO_OLD
from pgfleet.schema.queue.kernel import DeadLetter, Outgoing
from pgfleet.schema.settings import Settings
from pgfleet.schema.tracing import spans
from pgfleet.workers.runtime.inside.fitting import refuse_unfit
from pgfleet.workers.runtime.inside.trouble import NOBODYS
from pgfleet.workers.runtime.kind import Kind
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Done,
    LeaseLostError,
    NeverError,
    NoPlaceError,
    NotLoadedError,
    NotNowError,
    Outcome,
    RefusedError,
    Reject,
    Send,
    TryAgainError,
    Wait,
    show_reason,
)
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.settle import HELD_UP, PutBack, Unit
from pgfleet.workers.runtime.task import Task

REASON_LIMIT = 1000
# What waits for the outside is woken when that answers; it looks for itself this often, should that be missed.
HELD_S = 60.0
# What a newer version has sent is looked at less and less often: who says so of a message may say so of a million. And
# not for ever: a stranger's is looked at so often, which is within a day.
LONGEST_HELD_S, MOST_HELD = 3600.0, 24


def limit(running: Running, task: Task) -> int | None:
    """Failed attempts allowed; where the row could not even be loaded, as the settings say."""
    if task.view is None or not isinstance(running.kind, Kind):
        return running.settings.attempts
    return running.kind.limit(task.message, task.view, running.settings)


def decide(running: Running, task: Task, outcome: Outcome) -> Unit:
    """What is written for an outcome; raises TypeError where its values can't be."""
    refuse_unfit(outcome)
    match outcome:
        case Advance():
            reason = outcome.changes[0].reason or ""
            return Unit(task, "advance", reason, outcome.changes, _sends(running, outcome.then))
        case Wait():
            again = Outgoing(task.claimed.kept, outcome.until, spans.later(task.fresh_headers()))
            sends = ((running.kind.queue, again), *_sends(running, outcome.then))
            return Unit(task, "wait", outcome.reason, outcome.changes, sends)
        case Done():
            return Unit(task, "done", outcome.reason, sends=_sends(running, outcome.then))
        case Reject():
            return replace(bury(task, "reject", outcome.reason), changes=outcome.changes)
        case _:
            assert_never(outcome)


def decide_error(running: Running, task: Task, error: Exception) -> Unit | None:
    """What is written for an exception; None where the message is no longer ours to write about."""
    if isinstance(error, LeaseLostError):
        return None
    if isinstance(error, (NotNowError, NoPlaceError)):
        return _hold(running, task, error)
    unit = _put_off_or_give_up(running, task, error)
    then = _sends(running, error.then) if isinstance(error, (TryAgainError, NeverError)) else ()
    return replace(unit, sends=(*unit.sends, *then)) if then else unit


def _put_off_or_give_up(running: Running, task: Task, error: Exception) -> Unit:
    reason = _text(error)
    if isinstance(error, TryAgainError) and error.after_s is not None:
        after_s = min(max(error.after_s, 1), running.settings.backoff_cap_s)
        return release(task, timedelta(seconds=after_s), reason)
    if isinstance(error, (*HELD_UP, NotLoadedError)):
        return release(task, backoff(1, running.settings), reason)
    if isinstance(error, NOBODYS):
        return release(task, backoff(task.released + 1, running.settings), reason)
    failed = task.attempts + 1
    most = limit(running, task)
    final = most is not None and (failed >= most or isinstance(error, NeverError))
    if final or isinstance(error, RefusedError):
        return give_up(running, task, reason, failed)
    back = PutBack(backoff(failed, running.settings), task.headers(attempts=failed))
    return Unit(task, "retry", reason, put_back=back)


def _hold(running: Running, task: Task, error: NotNowError | NoPlaceError) -> Unit:
    """The message waits and its row says why. That is no failure; the breaker's end wakes it."""
    reason = _text(error)
    pause = backoff(task.held + 1, running.settings)
    if isinstance(error, NotNowError) and running.breakers.trouble(error.dependency, error.calls):
        pause = timedelta(seconds=_jittered(HELD_S))
    waits_for = error.dependency if isinstance(error, NotNowError) else error.code
    back = PutBack(pause, task.headers(released=task.released + 1, waits_for=waits_for))
    row = stepped.shown(task.message, task.view) if (stepped := _stepped(running, task)) else None
    return Unit(task, "held", reason, show_reason(row, reason) if row is not None else (), put_back=back)


def _stepped(running: Running, task: Task) -> Kind[Any, Any, Any] | None:
    """The kind, where the row could be loaded."""
    return running.kind if task.view is not None and isinstance(running.kind, Kind) else None


def give_up(running: Running, task: Task, reason: str, failed: int) -> Unit:
    """The message becomes a dead letter and the row fails with it, for one reason, in one transaction."""
    stepped = _stepped(running, task)
    last = stepped.fail(task.message, task.view, reason) if stepped else None
    if last is None:
        return bury(task, "dead", reason, failed)
    unit = decide(running, task, last)
    return replace(bury(task, "dead", reason, failed), changes=unit.changes, sends=unit.sends)


def release(task: Task, delay: timedelta = timedelta(0), reason: str = "given back") -> Unit:
    """Give a message back, which counts neither as a failure nor as a death."""
    return Unit(task, "release", reason, put_back=PutBack(delay, task.headers(released=task.released + 1)))


def unread(task: Task) -> Unit | None:
    """What becomes of a message that is not to be read: no driver can, or a newer version has sent it.

    What a newer version has sent waits for a worker that knows what it says; a stranger's for a day.
    """
    if task.claimed.unreadable:
        return bury(task, "reject", task.claimed.unreadable)
    if task.contract <= CONTRACT:
        return None
    reason = f"{TOO_OLD}: its contract is {task.contract}, this worker's {CONTRACT}"
    if task.asked is not None and task.held >= MOST_HELD:
        return bury(task, "reject", reason)
    pause_s = min(HELD_S * 2 ** min(task.held, 10), LONGEST_HELD_S)
    back = PutBack(timedelta(seconds=_jittered(pause_s)), task.headers(released=task.released + 1, waits_for=TOO_OLD))
    return Unit(task, "held", reason, put_back=back)


def backoff(failed: int, settings: Settings) -> timedelta:
    """Twice as long after each failure, up to the cap, with jitter: what failed together is not tried together."""
    seconds = min(settings.backoff_cap_s, settings.backoff_s * 2 ** min(failed - 1, 30))
    return timedelta(seconds=_jittered(seconds))


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311  # nothing secret in it


def bury(task: Task, outcome: str, reason: str, failed: int = 0) -> Unit:
    rejected = outcome == "reject"
    letter = DeadLetter(task.claimed, task.key, _writable(reason)[:REASON_LIMIT], failed, rejected=rejected)
    return Unit(task, outcome, reason, letter=letter)


def _sends(running: Running, then: tuple[Send, ...]) -> tuple[tuple[str, Outgoing], ...]:
    if not then:
        return ()
    now, later = spans.headers() or None, spans.later(None)
    return tuple(
        (send.queue or running.kind.queue, Outgoing(dict(send.body), send.at, now if send.at is None else later))
        for send in then
    )


def _text(error: Exception) -> str:
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    shown = error.shown if isinstance(error, (NotNowError, NoPlaceError)) else str(error)
    text = primary or shown or type(error).__name__
    known = isinstance(error, (TryAgainError, NeverError, NotNowError, NoPlaceError))
    return _writable(redact(text if known else f"{type(error).__name__}: {text}"))[:REASON_LIMIT]


def _writable(text: str) -> str:
    """Text that the database takes: an error may quote bytes that are no UTF-8, or zero."""
    return text.encode(errors="replace").decode().replace("\0", "")
