"""What one user has of what is limited (047), counted before rows are made, so that whoever asks is told.

What two workers make at once is refused by the database (116): then each looks again.
"""

from collections.abc import Sequence

import psycopg

from pgfleet.schema.policy import limits
from pgfleet.schema.policy.limits import Limits
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row, as_rows

SQL = named(__package__)


def ask_limits(conn: Connection, users: Sequence[str], operations: Sequence[str] = ()) -> psycopg.Cursor[Row]:
    """The limits of these users, and of those who have asked for these operations; `limits_in` reads the answer."""
    asked = {"users": list(users), "operations": list(operations)}
    return conn.cursor(row_factory=as_rows).execute(SQL["limits"], asked)


def limits_in(cursor: psycopg.Cursor[Row] | None) -> Limits:
    return {} if cursor is None else limits.limits_in(cursor)
