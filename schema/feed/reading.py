"""Reading the feed: pages of events after a position, the position of now, and what holds the feed back."""

from dataclasses import dataclass
from datetime import datetime

import psycopg

from pgfleet.schema.feed.cursor import Cursor, CursorTooOld
from pgfleet.schema.feed.event import Event
from pgfleet.schema.feed.filters import ALL, Filters
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
PAGE = 500
TOO_OLD = "PF410"


@dataclass(frozen=True, slots=True)
class Page:
    """Events in their order, and the position to read on from. One that is where it was: there are no more, for now."""

    events: list[Event]
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Held:
    """The feed waits for a transaction, as its moves will come before those that are committed already.

    Attributes:
        seconds: for how long the oldest committed move has waited.
        pid, application, user: of the session; None for a transaction that was prepared, or has just ended.
        since: when the transaction began, where this login may see it.
        prepared: the name under which the transaction was prepared.
    """

    seconds: float
    pid: int | None
    application: str | None
    user: str | None
    since: datetime | None
    prepared: str | None

    def __str__(self) -> str:
        if self.prepared is not None:
            who = f"the prepared transaction {self.prepared}"
        else:
            who = f"process {self.pid} ({self.application or 'no application'}) of {self.user}"
        return f"{who}{f', since {self.since:%Y-%m-%d %H:%M:%S %Z}' if self.since else ''}"


def read(
    conn: Connection, cursor: Cursor, filters: Filters = ALL, limit: int = PAGE, upto: Cursor | None = None
) -> Page:
    """Events after a position, out of the next `limit` moves, and none after `upto`.

    Raises:
        CursorTooOld: moves after the position are not kept any more; it says where to begin anew.
    """
    try:
        rows = ask(conn, SQL["since"], **_asked(cursor, filters, limit, upto))
    except psycopg.Error as error:
        if error.sqlstate != TOO_OLD:
            raise
        raise CursorTooOld(error.diag.message_primary or "", Cursor.parse(error.diag.message_detail or "")) from None
    events = [_event(row) for row in rows if row["machine"] is not None]
    return Page(events, _position(rows[-1]) if rows else cursor)


def _asked(cursor: Cursor, filters: Filters, limit: int, upto: Cursor | None) -> dict[str, object]:
    return {
        "timeline": cursor.timeline,
        "xact_id": str(cursor.xact_id),
        "history_id": cursor.history_id,
        "most": limit,
        "machines": None if filters.machines is None else sorted(filters.machines),
        "states": None if filters.states is None else sorted(filters.states),
        "row_id": filters.row_id,
        "of_user": filters.user,
        "upto_timeline": upto and upto.timeline,
        "upto_xact_id": upto and str(upto.xact_id),
        "upto_history_id": upto and upto.history_id,
    }


def _position(row: Row) -> Cursor:
    return Cursor(row["timeline"], int(row["xact_id"]), row["history_id"])


def _event(row: Row) -> Event:
    return Event(
        position=_position(row),
        machine=row["machine"],
        row_id=row["row_id"],
        from_status=row["from_status"],
        to_status=row["to_status"],
        reason=row["reason"],
        at=row["at"],
        owner=row["owner"],
        row=row["shown"] or {},
    )


def end(conn: Connection) -> Cursor:
    """The position of now: whatever is committed from now on comes after it."""
    row = ask(conn, SQL["end"])[0]
    return Cursor(row["timeline"], int(row["xact_id"]), 0)


def note_timeline(conn: Connection) -> int:
    """Which timeline the server is on. To be called on each new session that reads, or hands out positions."""
    return int(ask(conn, SQL["timeline"])[0]["timeline"])


def held(conn: Connection) -> Held | None:
    """What holds the feed back; None where no committed move waits."""
    rows = ask(conn, SQL["held"])
    if not rows:
        return None
    row = rows[0]
    return Held(row["held_s"], row["pid"], row["application"], row["username"], row["since"], row["prepared"])


def held_s(conn: Connection) -> float:
    """For how many seconds the feed is held back: the metric."""
    found = held(conn)
    return found.seconds if found else 0.0


def last_move(conn: Connection, machine: str, row_id: str) -> int:
    """The number of a row's last move, 0 where it has none."""
    return ask(conn, SQL["last_move"], machine=machine, row_id=row_id)[0]["history_id"] or 0
