"""`pgfleet watch`: the timeline of one reservation, followed until it is over."""

import time
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.live import Live

from pgfleet.console.commands.requests import Id
from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.pictures.timeline import picture
from pgfleet.producers.reading.timeline import past, read_timeline
from pgfleet.producers.submit.commands import AsJson, User
from pgfleet.producers.submit.following import Output
from pgfleet.producers.submit.reservation import awaited
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reservation import FINAL
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import read_settings

LOOK_S = 0.3


@example("pgfleet watch 3f2a9c1e --once")
def watch(
    given: Id,
    *,
    user: User = None,
    once: Annotated[bool, typer.Option("--once", help="Show it as it is now, and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the timeline of one reservation, and follow it until it is over.

    With --json: one line now with --once, else one line for each change.
    """
    grace = timedelta(seconds=read_settings().expiry_grace_s)
    with database() as conn:
        row = _row(conn, given, user or default_user(), Output(wait=not once, as_json=as_json))
        if row is None:
            return
        if once and not as_json:
            out().print(picture(read_timeline(conn, row, grace)))
        elif as_json:
            _follow_as_json(conn, row, grace, once=once)
        elif out().is_terminal:
            _follow_live(conn, row, grace)
        else:
            _follow_in_lines(conn, row, grace)


def _row(conn: Connection, given: str, user: str, output: Output) -> Row | None:
    """The reservation; one that is only asked for yet is waited for, unless it is to be shown as it is now.

    Raises:
        Refusal: there is none, or its message was rejected; with the reason.
    """
    try:
        return reads.resolve(conn, given, user)
    except Refusal:
        row_id = reads.asked_for(conn, given, user)
        if row_id is None:
            raise
    return awaited(conn, row_id, output)


def _over(row: dict[str, Any]) -> bool:
    """Whether its state is final and its pod is gone."""
    return row["status"] in FINAL and row["reservation_ended"] is not None


def _again(conn: Connection, row: dict[str, Any]) -> dict[str, Any]:
    time.sleep(LOOK_S)
    return reads.by_id(conn, row["reservation_id"]) or row


def _follow_live(conn: Connection, row: dict[str, Any], grace: timedelta) -> None:
    with Live(console=out(), auto_refresh=False) as live:
        while True:
            live.update(picture(read_timeline(conn, row, grace)), refresh=True)
            if _over(row):
                return
            row = _again(conn, row)


def _follow_in_lines(conn: Connection, row: dict[str, Any], grace: timedelta) -> None:
    printed = 0
    while True:
        events = past(read_timeline(conn, row, grace))
        for at, what, why in events[printed:]:
            out().print(f"{at:%H:%M:%S} {printable(what)}: {printable(why)}")
        printed = len(events)
        if _over(row):
            return
        row = _again(conn, row)


def _follow_as_json(conn: Connection, row: dict[str, Any], grace: timedelta, *, once: bool) -> None:
    printed: dict[str, Any] | None = None
    while True:
        timeline = read_timeline(conn, row, grace)
        if printed != row:
            print_json(timeline.as_json())
            printed = row
        if once or _over(row):
            return
        row = _again(conn, row)
