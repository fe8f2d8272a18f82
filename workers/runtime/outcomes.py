"""The closed list of what a step may return or raise; the settler interprets it in one place.

What each makes of its message and of its row is a table in ARCHITECTURE.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

import sqlalchemy as sa

from pgfleet.schema.rows.kernel import key_column
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

    @property
    def table(self) -> sa.Table:
        return self.row.table

    @property
    def key(self) -> Any:
        return self.row.key


@dataclass(frozen=True, slots=True)
class New:
    """A row that must not exist yet. `to` is None in a table without a machine."""

    table: sa.Table
    to: str | None
    reason: str
    values: Values

    @property
    def key(self) -> Any:
        return self.values[key_column(self.table).name]


Change: TypeAlias = Move | New


@dataclass(frozen=True, slots=True)
class Advance:
    """All of `changes` happen, or none; with them the message goes and `then` is sent. A sum is one commit, too."""

    changes: tuple[Change, ...] = ()
    then: tuple[Send, ...] = ()

    def __add__(self, other: "Advance") -> "Advance":
        return Advance((*self.changes, *other.changes), (*self.then, *other.then))


def advance(row: Row, to: str, reason: str, values: Values | None = None, then: tuple[Send, ...] = ()) -> Advance:
    """Move one row, the usual outcome of a step."""
    return Advance((Move(row, to, reason, values or {}),), then)


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at `until`. `changes` show the reason in the row; they do not move it."""

    reason: str
    until: datetime
    changes: tuple[Change, ...] = ()
    then: tuple[Send, ...] = ()


def show_reason(row: Row, reason: str, **values: Any) -> tuple[Move, ...]:
    """Write the reason into the column of the row that shows it, unless it is there already; with further values."""
    column = row.table.info["shows"]
    shown = values if row[column] == reason else {**values, column: reason}
    return (Move(row, None, values=shown),) if shown else ()


def wait(row: Row, reason: str, until: datetime, **values: Any) -> Wait:
    """Look again at `until`, and show why in the row."""
    return Wait(reason, until, show_reason(row, reason, **values))


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing to change; `then` may have other messages go on with it."""

    reason: str
    then: tuple[Send, ...] = ()


@dataclass(frozen=True, slots=True)
class Reject:
    """Nobody will ever be able to do this; a person reads the reason in the dead letters.

    `changes` fail the rows that were inserted with the message.
    """

    reason: str
    changes: tuple[Change, ...] = ()


Outcome: TypeAlias = Advance | Wait | Done | Reject


def without_waiting(outcome: Outcome) -> Outcome:
    """For a look out of turn. The row's own message is already queued; a second would never end."""
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


class Calls(StrEnum):
    """The calls of a dependency that fail together: what can't be made now may still be read, and deleted."""

    READ = "read"
    MAKE = "make"
    DELETE = "delete"


class NotNowError(Exception):
    """The outside is in trouble: the row waits, and nothing of it counts in any limit of the row.

    Attributes:
        dependency: what does not answer: kubernetes, ssh_keys, aws.ec2, aws.s3, hopsworks:<id of the cluster>.
        calls: those that it does not answer; READ stands for all of them.
        code: why the row waits, as it is shown: KUBERNETES_UNREACHABLE, say.
        after_s: how long the outside asked us to leave it alone.
    """

    def __init__(self, dependency: str, calls: Calls, code: str, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.dependency = dependency
        self.calls = calls
        self.code = code
        self.after_s = after_s

    @property
    def shown(self) -> str:
        return f"{self.code}: {self}"


class NoPlaceError(Exception):
    """The outside has no place for this row now, by a quota or by a rule that only its operator can change.

    It opens no breaker: the row keeps its place, gives back what it holds, and others are tried.
    `code` is why it waits, as it is shown: QUOTA, say.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def shown(self) -> str:
        return f"{self.code}: {self}"


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


class NotLoadedError(Exception):
    """The session or the database can't say what a step has to know: no failed attempt, and asked again later."""
