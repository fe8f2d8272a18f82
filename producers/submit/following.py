"""Follows what was sent until it has ended: one loop for all kinds; how one look is read is in the file of the kind."""

import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pgfleet.producers.submit.terminal import err, goes_on, out, print_json, progress
from pgfleet.schema.brake.pauses import pause_of
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.rows.row import Row

LOOK_S = 0.2
SILENCE_S = 10.0
UNTAKEN = "sent: no worker has taken it yet"


@dataclass(frozen=True, slots=True)
class Look:
    """How what was sent is at one moment.

    Attributes:
        row: None where no worker has made one yet.
        text: the state and why, in one line.
        result: what is printed when it has ended well; None as long as it has not.
        failed: it has ended otherwise.
        rejected: why its message is a dead letter, if it is.
        explained: the text says why nothing happens, so a long silence needs no hint.
        see: what to type to learn more of a bad end.
        more: what `--json` adds to the row.
    """

    row: Row | None
    text: str
    result: str | None = None
    failed: bool = False
    rejected: str | None = None
    explained: bool = True
    see: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        return self.failed or self.result is not None


def rejected(reason: str, row: Row | None = None, see: str | None = None) -> Look:
    """The look at something whose message is a dead letter."""
    return Look(row, f"rejected: {reason}", failed=True, rejected=reason, see=see)


@dataclass(frozen=True, slots=True)
class Followed:
    """What is followed.

    Attributes:
        conn: where what is paused is asked for; None where that can't be.
        kind: whose worker moves it on.
        look: looks at it now.
        as_json: what a look is with `--json`.
        again: what to type to follow it again.
    """

    conn: Connection | None
    kind: str
    look: Callable[[], Look]
    as_json: Callable[[Look], dict[str, Any]]
    again: str


@dataclass(frozen=True, slots=True)
class Output:
    """What whoever sends wants to see of it."""

    wait: bool = False
    timeout_s: float | None = None
    as_json: bool = False


def with_pause(conn: Connection, kind: str, sent: str) -> str:
    """What was sent, and who holds back what comes of it, if anybody does."""
    pause = pause_of(conn, kind)
    return sent if pause is None else f"{sent}\nIt waits: {pause}"


def report(sent: str, shown: str, as_json: dict[str, Any] | None) -> None:
    """Print what was sent on stderr; on stdout its id, or this JSON."""
    err().print(sent, soft_wrap=True)
    if as_json is None:
        out().print(shown, soft_wrap=True)
    else:
        print_json(as_json)


def wait(followed: Followed, output: Output) -> None:
    """Follow it, and print how it ended.

    Raises:
        Refusal: it ended badly, or the time is up; with the reason.
    """
    goes_on(f"It goes on: {followed.again}")
    with progress() as show:
        last = follow(lambda: _look(followed), output.timeout_s, show, followed.kind)
    if output.as_json:
        print_json(followed.as_json(last))
    if last.failed:
        raise Refusal(last.text if last.see is None else f"{last.text}\nMore of it: {last.see}")
    if not last.settled:
        raise Refusal(f"still {last.text}\nIt goes on: {followed.again}")
    if not output.as_json:
        out().print(last.result, soft_wrap=True)


def _look(followed: Followed) -> Look:
    """With what an operator holds back, if that is why nothing happens."""
    seen = followed.look()
    pause = None if seen.settled or followed.conn is None else pause_of(followed.conn, followed.kind)
    return seen if pause is None else replace(seen, text=f"{seen.text}; {pause}", explained=True)


def follow(look: Callable[[], Look], timeout_s: float | None, show: Callable[[str], None], kind: str) -> Look:
    """Look until it has ended, or the time is up: then the last look is not settled.

    Shows every change but a bad end and the result, which the caller prints; after some silence also which worker to
    start.
    """
    shown, last, started = "", "", time.monotonic()
    changed = started
    while True:
        seen, now = look(), time.monotonic()
        if seen.text != last:
            last, changed = seen.text, now
        silent = not seen.explained and now - changed > SILENCE_S
        text = f"{seen.text}; is one running? `pgfleet worker {kind}` starts one" if silent else seen.text
        if text != shown and not seen.failed and text != seen.result:
            show(text)
            shown = text
        if seen.settled or (timeout_s is not None and now - started >= timeout_s):
            return seen
        time.sleep(LOOK_S)


def dead_letters(conn: Connection, subject: about.Subject, row_id: str) -> frozenset[int]:
    """The dead letters that there are before something is sent: they say nothing of what becomes of it."""
    return frozenset(letter["dead_letter_id"] for letter in about.letters(conn, subject, row_id))


def refused(conn: Connection, subject: about.Subject, row_id: str, internal: Container[str | None] = ()) -> str | None:
    """Why the last message about a row that nobody has made is a dead letter; None unless one is.

    What is `internal` nobody has asked for: its actions are the worker's own.
    """
    letters = [each for each in about.letters(conn, subject, row_id) if about.action_of(each) not in internal]
    waiting = about.messages(conn, subject, row_id)
    return printable(letters[-1]["reason"]) if letters and not waiting else None


def rejection(
    conn: Connection, subject: about.Subject, row_id: str, actions: Container[str | None], known: Container[int] = ()
) -> str | None:
    """Why a message of these actions is a dead letter; None unless there is such a letter that was not known before."""
    for letter in reversed(about.letters(conn, subject, row_id)):
        if about.action_of(letter) in actions and letter["dead_letter_id"] not in known:
            return printable(letter["reason"])
    return None
