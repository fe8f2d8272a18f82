"""The closed list of what a step may return or raise; the settler interprets it in one place.

| outcome   | the message                                   | its row, same transaction   |
|-----------|-----------------------------------------------|-----------------------------|
| Advance   | deleted; follow-ups sent                      | guarded move, history       |
| Wait      | replaced by a fresh one: no failure           | values shown, state the same|
| Done      | deleted: late, duplicate or nothing to do     | unchanged                   |
| Reject    | a dead letter at once                         | unchanged                   |
| exception | backoff; at the limit a dead letter           | at the limit as `Kind.fail` says |
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from pgfleet.schema.rows.row import Row

Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Send:
    """A follow-up: sent if and only if the outcome it belongs to is committed. `at` is None for now."""

    body: Mapping[str, Any]
    at: datetime | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A change of one row, committed only if the row is as it was loaded. `to` is None to stay."""

    row: Row
    to: str | None
    reason: str | None = None
    values: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class New:
    """A row that must not exist yet. `status` is None in a table without a machine."""

    table: sa.Table
    status: str | None
    reason: str
    values: Values


Change: TypeAlias = Move | New


@dataclass(frozen=True, slots=True)
class Advance:
    """All of `changes` happen, or none; the message is gone with them, and `then` is sent."""

    changes: tuple[Change, ...]
    then: tuple[Send, ...] = ()


def advance(row: Row, to: str, reason: str, values: Values | None = None, then: tuple[Send, ...] = ()) -> Advance:
    """Move one row, the usual outcome of a step."""
    return Advance((Move(row, to, reason, values or {}),), then)


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at `until`. `changes` show the reason in the row; they do not move it."""

    reason: str
    until: datetime
    changes: tuple[Move, ...] = ()
    then: tuple[Send, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing to change; `then` may pass the matter on."""

    reason: str
    then: tuple[Send, ...] = ()


@dataclass(frozen=True, slots=True)
class Reject:
    """Nobody will ever be able to do this; a person reads the reason in the dead letters."""

    reason: str


Outcome: TypeAlias = Advance | Wait | Done | Reject


def without_waiting(outcome: Outcome) -> Outcome:
    """For a look out of turn: the row's own message waits already, and one more would be one for ever."""
    if not isinstance(outcome, Wait):
        return outcome
    return Advance(outcome.changes, outcome.then) if outcome.changes else Done(outcome.reason, outcome.then)


class TryAgainError(Exception):
    """The outside could not answer now. With `after_s` it asked us to wait, which is no failed attempt.

    `then` is sent with whatever becomes of the message.
    """

    def __init__(self, message: str, after_s: float | None = None, then: tuple[Send, ...] = ()) -> None:
        super().__init__(message)
        self.after_s = after_s
        self.then = then


class NeverError(Exception):
    """The outside will never do this, however often it is asked."""

    then: tuple[Send, ...] = ()


class RefusedError(NeverError):
    """The outside has answered, and it is no: given up at once, even where failures are not counted."""

    def __init__(self, message: str, then: tuple[Send, ...] = ()) -> None:
        super().__init__(message)
        self.then = then


class LeaseLostError(Exception):
    """Somebody else may have the message now: no more effects, and nothing is written."""
