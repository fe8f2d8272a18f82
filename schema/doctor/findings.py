"""What an examination of a database says: a finding with what to do about it, and how old or large is too much."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from pgfleet.schema.queue.kernel import Connection

SHOWN = 5


class Severity(StrEnum):
    """What each asks of whoever reads it."""

    OK = "ok"  # nothing
    SKIPPED = "skipped"  # nothing yet: something else has to be put right first
    WARNING = "warning"  # a look: work goes on, for now
    ERROR = "error"  # to be put right: something is wrong, or soon will be


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says. Holds no secret.

    Attributes:
        remedy: a command or SQL; None where there is nothing to do.
        kind: which of the things that the check finds it is.
    """

    check: str
    severity: Severity
    text: str
    remedy: str | None = None
    kind: str = ""

    @property
    def code(self) -> str:
        """What programs tell findings apart by, in every version: `history.gap`."""
        return f"{self.check}.{self.kind}" if self.kind else self.check


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is worth telling.

    Attributes:
        old_s, very_old_s: age of a transaction, for a warning and for an error.
        old_xids, very_old_xids: the same for what has no age in time: how many transactions began since.
        dead_rows: dead rows of a queue, if they are also more than `dead_ratio` times the live ones.
        large_bytes, few_rows: a queue's table of that size with fewer live rows.
        unconsumed_s: how long a message may be due.
        used_share: of the numbers that a sequence has.
        outage_s: how long something outside may not answer.
        periodic_late_s: how long periodic work may be overdue.
        placeless_s: how long a row may wait for a place that a quota or a rule does not give it.
        feed_held_s: for how long an open transaction may hold the feed of events back.
    """

    old_s: float = 60
    very_old_s: float = 600
    old_xids: int = 100_000
    very_old_xids: int = 10_000_000
    dead_rows: int = 10_000
    dead_ratio: float = 2
    large_bytes: int = 100 * 1024 * 1024
    few_rows: int = 10_000
    unconsumed_s: float = 300
    used_share: float = 0.5
    outage_s: float = 60
    periodic_late_s: float = 180
    placeless_s: float = 600
    feed_held_s: float = 5


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Check:
    """One look at the database.

    Attributes:
        healthy: what is true where nothing is found.
        find: what it finds; reads only.
        unable: how bad it is that it can't be run, as what it reads is not there.
    """

    name: str
    healthy: str
    find: Callable[[Connection, Limits], list[Finding]]
    unable: Severity = Severity.SKIPPED


def listed(things: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    known = list(things)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more
