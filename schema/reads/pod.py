"""What is known of a reservation's pod: where its Jupyter is, the cluster's events about it, what it writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import psycopg
import sqlalchemy as sa

from pgfleet.schema.environment.fleet import pod_name
from pgfleet.schema.errors import Refusal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.about import may_read
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.reservations import pod_events

MOST_EVENTS = 1000
# A limit of this program (PF007), or no right.
REFUSED = ("PF007", "42501")
_e = pod_events.c


def jupyter_address(conn: Connection, row: dict[str, Any]) -> str | None:
    """Where its Jupyter is, with the token, as a browser takes it; None where it is not, or not for who asks."""
    found = conn.execute("select public.jupyter_token_of(%s)", (row["reservation_id"],)).fetchone()
    token = found and found[0]
    return f"{row['jupyter_url']}?token={quote(token)}" if token and row["jupyter_url"] else None


def events(conn: Connection, row: dict[str, Any]) -> list[Row]:
    """What the cluster has told of its pods, as it was seen, oldest first; none for a login that may not read that."""
    if not may_read(conn, "public", "pod_events"):
        return []
    name = row["pod_name"] or pod_name(row["reservation_id"], fleet(conn))
    columns = (_e.seen_at, _e.reason, _e.message, _e.count, _e.is_warning)
    newest = sa.select(*columns).where(_e.pod_name == name).order_by(_e.seen_at.desc(), _e.event_uid).limit(MOST_EVENTS)
    return fetch(conn, newest)[::-1]


def fleet(conn: Connection) -> str:
    """The name of this fleet; empty of one without."""
    row = conn.execute("select name from public.fleet_name").fetchone()
    return row[0] if row else ""


def begin_reading(conn: Connection, reservation_id: str) -> str:
    """Have a worker serve what a pod writes; the id by which chunks are taken.

    Raises:
        Refusal: it is not for who asks, or that is too much at once.
    """
    try:
        (request,) = conn.execute("select public.ask_for_logs(%s)", (reservation_id,)).fetchone() or (None,)
    except psycopg.Error as error:
        if error.sqlstate not in REFUSED:
            raise
        raise Refusal(error.diag.message_primary or str(error)) from None
    return str(request)


def end_reading(conn: Connection, request: str) -> None:
    """Nothing more is served."""
    conn.execute("select public.close_logs(%s)", (request,))


@contextmanager
def reading_along(conn: Connection, reservation_id: str) -> Iterator[str]:
    """The id by which chunks are taken; at the end of the block nothing more is served.

    Raises:
        Refusal: it is not for who asks, or that is too much at once.
    """
    request = begin_reading(conn, reservation_id)
    try:
        yield request
    finally:
        end_reading(conn, request)


def take(conn: Connection, request: str, has_number: int) -> tuple[str | None, int, bool, str | None]:
    """Beyond the chunks that the reader has: the text, its number, whether more is there, and why it has ended."""
    found = conn.execute("select * from public.take_logs(%s, %s)", (request, has_number)).fetchone()
    return found or (None, has_number, False, "it was forgotten")
