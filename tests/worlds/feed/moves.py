"""Moves to be told as events: reservations that are made and moved by hand, in a transaction of the test's choice."""

import uuid

from worlds.database import Connection

MADE = (
    "insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)"
    " values (%s, %s, 'pending', 't4', 1, 4, now())"
)


def make(conn: Connection, row_id: str | None = None, user: str = "ada") -> str:
    """A reservation that is made, which is one move."""
    row_id = row_id or uuid.uuid4().hex
    conn.execute(MADE, (row_id, user))
    return row_id


def move(conn: Connection, row_id: str, status: str) -> None:
    conn.execute("update public.reservations set status = %s where reservation_id = %s", (status, row_id))
