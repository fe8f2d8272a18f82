"""Asks for more hours of a reservation, says until when it will run then, and follows that until it is done."""

from datetime import timedelta
from typing import Any

from pgfleet.producers.sending import put
from pgfleet.producers.submit.following import UNTAKEN, Followed, Look, Output, dead_letters, rejected, wait, with_pause
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.printable import printable, second
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.reservation import RESERVATION
from pgfleet.schema.reservation import FINAL, QUEUE, Extend
from pgfleet.schema.rows.row import Row


def send_extend(conn: Connection, message: Extend, row: Row, output: Output) -> None:
    """Send it, unless it is done already; tell until when the reservation will run.

    Raises:
        Refusal: it was rejected, or the time is up.
    """
    row_id, done = message.reservation_id, _done(row, message)
    known = dead_letters(conn, RESERVATION, row_id)
    if done is None:
        put(conn, QUEUE, message)
    sent = f"extend sent: {_planned(row, message)}" if done is None else f"extended already {done}"
    if not output.wait:
        if output.as_json:
            print_json(_as_json(message, row, None))
        else:
            out().print(with_pause(conn, "reservation", f"{printable(row_id)} {sent}"), soft_wrap=True)
        return
    err().print(sent)
    followed = Followed(
        conn=conn,
        kind="reservation",
        look=lambda: look(conn, message, known),
        as_json=lambda last: _as_json(message, last.row or row, last.rejected),
        again=f"pgfleet watch {reads.short(conn, row_id)}",
    )
    wait(followed, output)


def look(conn: Connection, message: Extend, known_letters: frozenset[int]) -> Look:
    """Whether it is done by now."""
    row = reads.by_id(conn, message.reservation_id)
    done = None if row is None else _done(row, message)
    if done is not None:
        return Look(row, done, result=f"extended {done}")
    for letter in about.letters(conn, RESERVATION, message.reservation_id):
        body = letter["message"] if isinstance(letter["message"], dict) else {}
        if letter["dead_letter_id"] not in known_letters and body.get("request_id") == message.request_id:
            return rejected(printable(letter["reason"]), row)
    if row is not None and row["status"] in FINAL:
        return Look(row, f"too late, it is {row['status']}", failed=True)
    return Look(row, UNTAKEN, explained=False)


def _done(row: Row, message: Extend) -> str | None:
    """What was done: `by 2 h, until 2026-11-28 14:03:00 UTC`."""
    noted = message.noted_in(row["requests_done"])
    return printable(noted["told"]) if noted is not None and message.is_as(noted) else None


def _planned(row: Row, message: Extend) -> str:
    more = timedelta(hours=message.extension_hours)
    if row["expires_at"] is None:
        return f"by {message.extension_hours:g} h, to {row['duration_hours'] + message.extension_hours:g} h in all"
    before, after = second(row["expires_at"]), second(row["expires_at"] + more)
    return f"by {message.extension_hours:g} h, until {after} instead of {before}"


def _as_json(message: Extend, row: Row, refused: str | None) -> dict[str, Any]:
    done = _done(row, message)
    more = timedelta(0) if done else timedelta(hours=message.extension_hours)
    ends = None if row["expires_at"] is None else row["expires_at"] + more
    result = "rejected" if refused else "extended" if done else "extend sent"
    return {
        "reservation_id": message.reservation_id,
        "request_id": message.request_id,
        "result": result,
        "expires_at": row["expires_at"] if refused else ends,
        "rejected": refused,
    }
