"""What one user may have at once (040), counted before rows are made, so that whoever asks is told.

What two workers make at once is refused by the database (112): then each looks again.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import psycopg

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row, as_rows

SQL = named(__package__)

# By user and limit: how much is used, and the most.
Limits: TypeAlias = Mapping[tuple[str, str], Row]


def ask_limits(conn: Connection, users: Sequence[str], operations: Sequence[str] = ()) -> psycopg.Cursor[Row]:
    """The limits of these users, and of those who have asked for these operations; `limits_in` reads the answer."""
    asked = {"users": list(users), "operations": list(operations)}
    return conn.cursor(row_factory=as_rows).execute(SQL["limits"], asked)


def limits_in(cursor: psycopg.Cursor[Row] | None) -> Limits:
    return {} if cursor is None else {(row["user_id"], row["name"]): row for row in cursor}


def beyond(limits: Limits, user_id: str, **more: int) -> str | None:
    """Why a user can't have so many more of these; None if they can."""
    for name, number in more.items():
        limit = limits.get((user_id, name))
        if limit is not None and limit.used + number > limit.most:
            extra = f"; {number} more would be too many" if number > 1 and limit.used <= limit.most else ""
            return f"{user_id} has {_used(limit)} {limit.counts}, and may have {limit.most}{extra}"
    return None


def _used(limit: Row) -> str:
    """What is beyond a limit is not counted to its end."""
    return str(limit.used) if limit.used <= limit.most else f"more than {limit.most}"
