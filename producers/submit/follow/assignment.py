"""Follows the assignment of one user until it is active or over, telling each change."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pgfleet.schema.assignment import FINAL, Held, Status
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import assignment as reads

LOOK_S = 0.2
SILENCE_S = 10.0
HINT = "; is one running? `pgfleet worker assignment` starts one"


@dataclass(frozen=True, slots=True)
class Target:
    """Who is followed.

    Attributes:
        known_letters: dead letters that are older than the message that is followed.
    """

    user_id: str
    known_letters: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Look:
    """One look at an assignment: its user if there is one, else why the assign was rejected, if it was."""

    row: dict[str, Any] | None
    text: str
    taken: bool = True
    rejected: str | None = None

    @property
    def status(self) -> str | None:
        return self.row["status"] if self.row else None

    @property
    def refused(self) -> bool:
        """Over, and not active."""
        return self.rejected is not None or (self.taken and self.status in FINAL)

    @property
    def settled(self) -> bool:
        return self.refused or (self.taken and self.status == Status.ACTIVE)

    @property
    def explained(self) -> bool:
        """Whether it says for itself why nothing happens."""
        return self.text.partition(": ")[2].partition(":")[0] in set(Held)


def look(conn: Connection, target: Target) -> Look:
    """The queue is read before the row: what is not in it any more, the row knows of already."""
    asked = [m for m in reads.messages(conn, target.user_id) if reads.action_of(m) == "assign"]
    row = reads.user(conn, target.user_id)
    rejected = _rejection(conn, target)
    if rejected is not None:
        return Look(row, f"rejected: {printable(rejected)}", rejected=rejected)
    if row is None and any(message["read_ct"] for message in asked):
        return Look(row, "sent: a worker waits for the sign-up service to write the user", taken=False)
    if row is None or row["status"] is None or (asked and row["status"] in FINAL):
        return Look(row, "sent: no worker has taken it yet", taken=False)
    told = row["status_reason"] if row["status"] in FINAL else row["detail"] or row["status_reason"]
    return Look(row, f"{row['status']}: {printable(told)}")


def _rejection(conn: Connection, target: Target) -> str | None:
    """Why this assign is among the dead letters, if it is."""
    for letter in reversed(reads.letters(conn, target.user_id)):
        if reads.action_of(letter) == "assign" and letter["dead_letter_id"] not in target.known_letters:
            return str(letter["reason"])
    return None


def follow(conn: Connection, target: Target, timeout_s: float | None, tell: Callable[[str], None]) -> Look:
    """Look until it is active or over, or the time is up: then the last look is not settled.

    Tells every change but a bad end, which is the caller's to tell, and where to look after some silence; returns the
    last look.
    """
    told, last, started = "", "", time.monotonic()
    changed = started
    while True:
        seen, now = look(conn, target), time.monotonic()
        if seen.text != last:
            last, changed = seen.text, now
        text = seen.text if seen.explained or now - changed <= SILENCE_S else seen.text + HINT
        if text != told and not seen.refused:
            tell(text)
            told = text
        if seen.settled or (timeout_s is not None and now - started >= timeout_s):
            return seen
        time.sleep(LOOK_S)
