"""Follows one reservation until it is active or over, telling each change."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from producers.wording import story
from schema import reservation_reads as reads
from schema.kernel import Connection
from schema.reservation import FINAL, Status
from schema.reservation_place import Place, place
from schema.statements import Record

LOOK_S = 0.2
SILENCE_S = 10.0
SETTLED = frozenset({Status.ACTIVE, *FINAL})


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a reservation: its row if there is one, else why its create was rejected, if it was."""

    row: Record | None
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


def look(conn: Connection, reservation_id: str, grace: timedelta) -> Look:
    row = reads.by_id(conn, reservation_id)
    if row is None:
        return _not_there_yet(conn, reservation_id)
    now, line = reads.line_now(conn, row["gpu_type"])
    where = place(row, line, grace)
    return Look(row, where, f"{row['status']}: {story(row, where, now)}")


def _not_there_yet(conn: Connection, reservation_id: str) -> Look:
    """No row: rejected if there is an open dead letter of its create, else still in the queue."""
    for letter in reversed(reads.letters(conn, reservation_id)):
        if letter["message"].get("action") == "create_reservation" and letter["answer"] is None:
            return Look(None, None, f"rejected: {letter['reason']}", rejected=letter["reason"])
    return Look(None, None, "sent: no worker has taken it yet")


def looks(conn: Connection, reservation_id: str, grace: timedelta, timeout_s: float | None) -> Iterator[Look]:
    """Look by look, until it is active or over, or the time is up: then the last look is not settled."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        seen = look(conn, reservation_id, grace)
        yield seen
        if seen.settled or (deadline is not None and time.monotonic() >= deadline):
            return
        time.sleep(LOOK_S)


def follow(
    conn: Connection,
    reservation_id: str,
    grace: timedelta,
    timeout_s: float | None,
    tell: Callable[[str], None],
) -> Look:
    """Tell every change; returns the last look."""
    told, started, seen = "", time.monotonic(), None
    for seen in looks(conn, reservation_id, grace, timeout_s):
        text = seen.text
        if seen.row is None and seen.rejected is None and time.monotonic() - started > SILENCE_S:
            text += "; is one running? `pgfleet worker reservation` starts one"
        if text != told:
            tell(text)
            told = text
    assert seen is not None  # noqa: S101  # there is always a first look
    return seen
