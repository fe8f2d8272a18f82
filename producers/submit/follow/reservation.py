"""Follows one reservation until it is active or over, telling each change."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pgfleet.producers.submit.wording import story
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.place import Place, place
from pgfleet.schema.reservation import FINAL, Status

LOOK_S = 0.2
SILENCE_S = 10.0
SETTLED = frozenset({Status.ACTIVE, *FINAL})


@dataclass(frozen=True, slots=True)
class Target:
    """What is followed.

    Attributes:
        grace: how long after its expiry a reservation gives its GPUs back; for ETAs.
        known_letters: dead letters that are older than the message that is followed.
    """

    reservation_id: str
    grace: timedelta
    known_letters: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a reservation: its row if there is one, else why its create was rejected, if it was."""

    row: dict[str, Any] | None
    place: Place | None
    text: str
    rejected: str | None = None

    @property
    def settled(self) -> bool:
        return self.rejected is not None or (self.row is not None and self.row["status"] in SETTLED)

    @property
    def refused(self) -> bool:
        """Over, and never became active."""
        return self.rejected is not None or (self.row is not None and self.row["status"] in FINAL)


def look(conn: Connection, target: Target) -> Look:
    row = reads.by_id(conn, target.reservation_id)
    if row is None:
        return _not_there_yet(conn, target)
    now, line = reads.line_now(conn, row["gpu_type"])
    where = place(row, line, target.grace)
    return Look(row, where, f"{row['status']}: {story(row, where, now)}")


def _not_there_yet(conn: Connection, target: Target) -> Look:
    """No row: rejected if there is a new dead letter of its create, else still in the queue."""
    for letter in reversed(reads.letters(conn, target.reservation_id)):
        of_create = letter["message"].get("action") == "create_reservation"
        if of_create and letter["dead_letter_id"] not in target.known_letters:
            return Look(None, None, f"rejected: {letter['reason']}", rejected=letter["reason"])
    return Look(None, None, "sent: no worker has taken it yet")


def follow(conn: Connection, target: Target, timeout_s: float | None, tell: Callable[[str], None]) -> Look:
    """Look until it is active or over, or the time is up: then the last look is not settled.

    Tells every change but a bad end, which is the caller's to tell; returns the last look.
    """
    told, started = "", time.monotonic()
    while True:
        seen, waited_s = look(conn, target), time.monotonic() - started
        text = seen.text
        if seen.row is None and waited_s > SILENCE_S:
            text += "; is one running? `pgfleet worker reservation` starts one"
        if text != told and not seen.refused:
            tell(text)
            told = text
        if seen.settled or (timeout_s is not None and waited_s >= timeout_s):
            return seen
        time.sleep(LOOK_S)
