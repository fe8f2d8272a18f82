"""Sweeps that lead outside: what was done a moment ago is not done again, however often it is asked for."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row, rows_in
from pgfleet.schema.tables.runtime import periodic
from pgfleet.workers.runtime.kind import Turn
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, Outcome

SQL = named(__package__)


def ask_periodic(conn: Connection, queue: str) -> Cursor:
    """The periodic work of a queue; `periodic_in` reads the answer."""
    return conn.execute(SQL["periodic"], {"queue": queue})


def periodic_in(cursor: Cursor | None) -> dict[str, Row]:
    """The rows by the action of their message."""
    return {} if cursor is None else {row.message["action"]: row for row in rows_in(periodic, cursor)}


def once_in_a_while(action: str, known: Mapping[str, Row], turn: Turn[Any, Any], sweep: Callable[[], Done]) -> Outcome:
    """The sweep, and the note that it was done; nothing where that was less than half of its period ago."""
    row = known.get(action)
    if row is None:
        return sweep()
    if row.done_at is not None and timedelta(0) <= turn.now - row.done_at < row.every / 2:
        return Done("it was done a moment ago")
    done = sweep()
    return Advance((Move(row, None, done.reason, {"done_at": turn.now}),), done.then)
