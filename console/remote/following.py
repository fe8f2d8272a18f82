"""What was asked for is followed through the API: by its row, which answers when it moves, or by its timeline."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgfleet.console.remote import rows
from pgfleet.console.remote.client import Api, Seen, path_of
from pgfleet.console.remote.problems import Problem
from pgfleet.producers.reading.timeline import NO_MOVES
from pgfleet.producers.submit.following import UNTAKEN, Followed, Look, Output, rejected, wait
from pgfleet.producers.submit.wording import story
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.reservation import FINAL, Status
from pgfleet.schema.rows.row import Row

LOOK_S, ETA_S = 0.8, 2.0
# Who did it stands behind what was done.
BY_WHOM = re.compile(r"  \([^()]*\)$")
LETTER = re.compile(r"dead letter (\d+)")

ALL = "/v1/reservations"
WHOLE = 36
MOST = 10_000
Result = Callable[[Row, str], Look | None]


def one(api: Api, given: str, user: str | None = None) -> Row:
    """A reservation, by its id or the beginning of it that no other of the user's has.

    Raises:
        Refusal: there is none that who asks may see.
    """
    which = given.strip().lower()
    if not which:
        raise Refusal("Which reservation? Give its id, or the beginning of it.")
    if user is not None and len(which) < WHOLE:
        # The API knows whose prefix it is of who asks alone.
        known = [row["reservation_id"] for row in api.pages(ALL, MOST, user_id=user)]
        which = rows.only(known, which, f"reservation {printable(given)} of {printable(user)}")
    return rows.reservation(api.get(path_of("reservations", which)))


def timeline(api: Api, row_id: str) -> dict[str, Any]:
    found: dict[str, Any] = rows.timed(api.get(path_of("reservations", row_id, "timeline")))
    return found


def described(row: Row, api: Api) -> str:
    """In one line, how it is and why."""
    return story(row, rows.place(row), api.now)


@dataclass
class Reservation:
    """One that is followed until it is active, or has ended."""

    api: Api
    row_id: str
    # Where it was asked for about another one: that, and the dead letters about it from before.
    old_id: str | None = None
    action: str = ""
    known: frozenset[str] = frozenset()
    _seen: Seen | None = None

    def look(self) -> Look:
        before = self._seen
        try:
            self._seen = self.api.once_changed(path_of("reservations", self.row_id), before)
        except Problem as error:
            if self.old_id is None or error.slug != "not-found":
                raise
            reason = refusal(timeline(self.api, self.old_id), self.action, self.known)
            if reason is None:
                time.sleep(LOOK_S)
            return Look(None, UNTAKEN) if reason is None else rejected(reason)
        if before is not None and before is not self._seen and _but_its_eta(before) == _but_its_eta(self._seen):
            # Of some that wait it is now, or later and later: what changes all the time is not asked for all the time.
            time.sleep(ETA_S)
        row = rows.reservation(self._seen.content)
        return Look(
            row,
            f"{row['status']}: {described(row, self.api)}",
            result=str(row["ssh_command"]) if row["status"] == Status.ACTIVE else None,
            failed=row["status"] in FINAL,
        )

    def follow(self, output: Output) -> None:
        """Until it is active.

        Raises:
            Refusal: it has ended, or the time is up.
        """
        short = self.row_id[: rows.SHORT]
        again = f"pgfleet watch {short}, or pgfleet cancel {short}"
        wait(Followed(None, "reservation", self.look, self._as_json, again), output)

    def _as_json(self, last: Look) -> dict[str, Any]:
        return {"reservation_id": self.row_id, "status": None, "rejected": last.rejected, **(last.row or {})}


def _but_its_eta(of: Seen) -> dict[str, Any]:
    return {name: value for name, value in of.content.items() if name != "eta"}


@dataclass
class Asked:
    """A request about a reservation, followed until a worker has done it, or has refused it."""

    api: Api
    row_id: str
    action: str
    result: Result
    before: Mapping[str, Any]
    request_id: str | None = None
    more: Callable[[Look], dict[str, Any]] = field(default=lambda last: dict(last.more))
    _gone: int = 0

    def look(self) -> Look:
        seen = timeline(self.api, self.row_id)
        row = rows.reservation(seen["reservation"])
        done = self._done(seen)
        if len(done) > len(self._done(self.before)):
            told = BY_WHOM.sub("", printable(done[-1]))
            return self.result(row, told) or self._pause(Look(row, told))
        reason = refusal(seen, self.action, letters(self.before))
        if reason is not None:
            return rejected(reason, row)
        if row["status"] in FINAL:
            return Look(row, f"too late, it is {row['status']}", failed=True)
        # What is read of it is not of one moment: only what is gone twice is gone.
        self._gone = 0 if any(each["what"] == self.action for each in seen["coming"]) else self._gone + 1
        if self._gone > 1:
            return self.result(row, "nothing was to be done") or Look(row, "done", result="nothing was to be done")
        return self._pause(Look(row, UNTAKEN))

    def follow(self, output: Output) -> None:
        """Until it is done.

        Raises:
            Refusal: it was refused, came too late, or the time is up.
        """
        again = f"pgfleet watch {self.row_id[: rows.SHORT]}"
        wait(Followed(None, "reservation", self.look, self._as_json, again), output)

    def _done(self, seen: Mapping[str, Any]) -> list[str]:
        return [str(each["why"]) for each in seen["past"] if each["what"] == NO_MOVES[self.action]]

    def _as_json(self, last: Look) -> dict[str, Any]:
        known = {"reservation_id": self.row_id, "request_id": self.request_id}
        return {**known, "result": last.result, "rejected": last.rejected, **self.more(last)}

    def _pause(self, seen: Look) -> Look:
        time.sleep(LOOK_S)
        return seen


def letters(seen: Mapping[str, Any]) -> frozenset[str]:
    """The numbers of the dead letters that a timeline has."""
    return frozenset(found[1] for each in seen["past"] if (found := LETTER.match(each["what"])))


def refusal(seen: Mapping[str, Any], action: str, known: frozenset[str]) -> str | None:
    """Why a message of this action is a dead letter that was not known before; None unless one is."""
    for each in reversed(seen["past"]):
        found = LETTER.match(each["what"])
        if found and found[1] not in known and str(each["why"]).startswith(f"{action}: "):
            return printable(str(each["why"]).removeprefix(f"{action}: "))
    return None
