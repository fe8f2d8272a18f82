"""From what a step returned or raised to what is written for its message: one case for each outcome."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, assert_never

import psycopg

from pgfleet.schema.database.dsn import redact
from pgfleet.schema.queue.kernel import DeadLetter, Outgoing
from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.hand import Delivery
from pgfleet.workers.runtime.kind import AnyKind, Kind
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Done,
    LeaseLostError,
    Move,
    NeverError,
    Outcome,
    RefusedError,
    Reject,
    Send,
    TryAgainError,
    Wait,
)
from pgfleet.workers.runtime.settle import HELD_UP, PutBack, Unit

REASON_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Case:
    """One message with what its step looked at: None for what could not be read or loaded."""

    kind: AnyKind
    settings: Settings
    delivery: Delivery
    message: Any = None
    view: Any = None

    @property
    def row_id(self) -> str | None:
        return None if self.message is None else str(self.kind.key(self.message))

    @property
    def limit(self) -> int | None:
        """Failed attempts allowed; where the row could not even be loaded, as the settings say."""
        if self.view is None or not isinstance(self.kind, Kind):
            return self.settings.attempts
        return self.kind.limit(self.message, self.view, self.settings)


def decide(case: Case, outcome: Outcome) -> Unit:
    """What is written for an outcome."""
    match outcome:
        case Advance():
            return Unit(
                case.delivery,
                "advance",
                _told(outcome),
                changes=outcome.changes,
                sends=_sends(case, outcome.then),
            )
        case Wait():
            body = case.delivery.message.body
            again = Outgoing(body, outcome.until, case.delivery.headers(attempts=0, released=0))
            return Unit(
                case.delivery,
                "wait",
                outcome.reason,
                changes=outcome.changes,
                sends=((case.kind.queue, again), *_sends(case, outcome.then)),
            )
        case Done():
            return Unit(case.delivery, "done", outcome.reason, sends=_sends(case, outcome.then))
        case Reject():
            return _bury(case, "reject", outcome.reason)
        case _:
            assert_never(outcome)


def decide_error(case: Case, error: Exception) -> Unit | None:
    """What is written for an exception; None where the message is no longer ours to write about."""
    if isinstance(error, LeaseLostError):
        return None
    unit = _put_off_or_give_up(case, error)
    then = _sends(case, error.then) if isinstance(error, (TryAgainError, NeverError)) else ()
    return replace(unit, sends=(*unit.sends, *then)) if then else unit


def _put_off_or_give_up(case: Case, error: Exception) -> Unit:
    reason = _text(error)
    if isinstance(error, TryAgainError) and error.after_s is not None:
        after_s = min(max(error.after_s, 1), case.settings.backoff_cap_s)
        return release(case.delivery, timedelta(seconds=after_s), reason)
    if isinstance(error, HELD_UP):
        return release(case.delivery, backoff(1, case.settings), reason)
    failed = case.delivery.attempts + 1
    limit = case.limit
    final = limit is not None and (failed >= limit or isinstance(error, NeverError))
    if final or isinstance(error, RefusedError):
        return give_up(case, reason, failed)
    back = PutBack(backoff(failed, case.settings), case.delivery.headers(attempts=failed))
    return Unit(case.delivery, "retry", reason, put_back=back)


def give_up(case: Case, reason: str, failed: int) -> Unit:
    """The message becomes a dead letter and the row fails with it, for one reason, in one transaction."""
    stepped = case.kind if case.view is not None and isinstance(case.kind, Kind) else None
    last = stepped.fail(case.message, case.view, reason) if stepped else None
    if last is None:
        return _bury(case, "dead", reason, failed)
    unit = decide(case, last)
    return Unit(case.delivery, "dead", reason, unit.changes, unit.sends, letter=_letter(case, reason, failed))


def release(delivery: Delivery, delay: timedelta, reason: str) -> Unit:
    """Hand a message back: no failure, and no death of ours."""
    headers = delivery.headers(released=delivery.released + 1)
    return Unit(delivery, "release", reason, put_back=PutBack(delay, headers))


def backoff(failed: int, settings: Settings) -> timedelta:
    """Twice as long after each failure, up to the cap, with jitter so that what failed together parts."""
    seconds = min(settings.backoff_cap_s, settings.backoff_s * 2 ** min(failed - 1, 30))
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311  # nothing secret in it


def unreadable(case: Case, reason: str) -> Unit:
    return _bury(case, "reject", reason)


def _bury(case: Case, outcome: str, reason: str, failed: int = 0) -> Unit:
    return Unit(case.delivery, outcome, reason, letter=_letter(case, reason, failed))


def _letter(case: Case, reason: str, failed: int) -> DeadLetter:
    return DeadLetter(case.delivery.message, case.row_id, _writable(reason)[:REASON_LIMIT], failed)


def _sends(case: Case, then: tuple[Send, ...]) -> tuple[tuple[str, Outgoing], ...]:
    return tuple((send.queue or case.kind.queue, Outgoing(_plain(send.body), send.at)) for send in then)


def _plain(body: Mapping[str, Any]) -> dict[str, Any]:
    return dict(body)


def _told(outcome: Advance) -> str:
    first = outcome.changes[0]
    return first.reason or "" if isinstance(first, Move) else first.reason


def _text(error: Exception) -> str:
    told = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    text = told or str(error) or type(error).__name__
    known = isinstance(error, (TryAgainError, NeverError))
    return _writable(redact(text if known else f"{type(error).__name__}: {text}"))[:REASON_LIMIT]


def _writable(text: str) -> str:
    """Text that the database takes: an error may quote bytes that are no UTF-8, or zero."""
    return text.encode(errors="replace").decode().replace("\0", "")
