"""Sends a request about a reservation, and follows it until a worker has done it, or has refused it."""

from collections.abc import Callable
from typing import Any

from pgfleet.producers.sending import put
from pgfleet.producers.submit.following import UNTAKEN, Followed, Look, Output, dead_letters, rejected, wait, with_pause
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.reservation import RESERVATION
from pgfleet.schema.reservation import FINAL, QUEUE, Request
from pgfleet.schema.rows.row import Row

# What comes of a request once it is noted as done: None as long as that is to be waited for.
Result = Callable[[Row, str], Look | None]


def send_request(conn: Connection, message: Request, output: Output, result: Result) -> None:
    """Send it; with `output.wait`, follow it until `result` has a look that is settled.

    Raises:
        Refusal: it was rejected, came too late, or the time is up.
    """
    row_id, known = message.reservation_id, dead_letters(conn, RESERVATION, message.reservation_id)
    put(conn, QUEUE, message)
    sent = f"{message.asks} sent"
    if output.wait:
        err().print(sent)
        again = f"pgfleet watch {reads.short(conn, row_id)}"
        as_json = _as_json(message)
        wait(Followed(conn, "reservation", lambda: look(conn, message, known, result), as_json, again), output)
    elif output.as_json:
        print_json({"reservation_id": row_id, "request_id": message.request_id, "result": sent})
    else:
        out().print(with_pause(conn, "reservation", printable(f"{row_id} {sent}")), soft_wrap=True)


def look(conn: Connection, message: Request, known: frozenset[int], result: Result) -> Look:
    """What has become of it by now."""
    row = reads.by_id(conn, message.reservation_id)
    noted = None if row is None else message.noted_in(row["requests_done"])
    if row is not None and noted is not None and message.is_as(noted):
        return result(row, printable(noted["told"])) or Look(row, printable(noted["told"]))
    for letter in about.letters(conn, RESERVATION, message.reservation_id):
        body = letter["message"] if isinstance(letter["message"], dict) else {}
        if letter["dead_letter_id"] not in known and body.get("request_id") == message.request_id:
            return rejected(printable(letter["reason"]), row)
    if row is not None and row["status"] in FINAL:
        return Look(row, f"too late, it is {row['status']}", failed=True)
    waiting = [
        each
        for each in about.messages(conn, RESERVATION, message.reservation_id)
        if about.action_of(each) == message.asks
    ]
    if row is not None and not waiting:
        # Taken, and nothing was to be done.
        return result(row, "nothing was to be done") or Look(row, "done")
    return Look(row, UNTAKEN, explained=False)


def _as_json(message: Request) -> Callable[[Look], dict[str, Any]]:
    def shown(last: Look) -> dict[str, Any]:
        return {
            "reservation_id": message.reservation_id,
            "request_id": message.request_id,
            "result": last.result,
            "rejected": last.rejected,
            **last.more,
        }

    return shown
