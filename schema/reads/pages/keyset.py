"""One page of a list: newest first by (a time that never changes, an id), from where a cursor says.

The next page begins after the last row of this one, whatever has come or gone meanwhile. Who turns pages reads nothing
into a cursor: its form may change.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa

from pgfleet.schema.errors import FleetError
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row

MOST = 200
USUAL = 50
NOT_OURS = "cursor: must be one that a page of this list has given"
# What a row's place is called in the statement; not told.
_AT, _ID = "page_at", "page_id"
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # of columns without a zone; as text it is one of any


class BadCursorError(FleetError):
    """No cursor of this list."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which page. `since`: only what has changed at that time or later."""

    cursor: str | None = None
    most: int = USUAL
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """`next` is the cursor of the page after it; None where there is none."""

    rows: list[Row]
    next: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """By what a list is ordered, and when a row of it changed last."""

    at: sa.ColumnElement[Any]
    id: sa.ColumnElement[Any]
    changed: sa.ColumnElement[Any]


def page(conn: Connection, statement: sa.Select[Any], place: Place, wanted: Wanted) -> Page:
    """A page of a statement that has no order yet.

    Raises:
        BadCursorError: the cursor is none of this list, or `most` is not 1 to 200.
    """
    if not 1 <= wanted.most <= MOST:
        raise BadCursorError(f"limit: 1 to {MOST}, not {wanted.most}")
    if wanted.cursor is not None:
        after = decode(wanted.cursor)
        key = (
            sa.cast(sa.literal(value, sa.Text), c.type) for value, c in zip(after, (place.at, place.id), strict=True)
        )
        statement = statement.where(sa.tuple_(place.at, place.id) < sa.tuple_(*key))
    if wanted.since is not None:
        statement = statement.where(place.changed >= wanted.since)
    named = (sa.cast(place.at, sa.Text).label(_AT), sa.cast(place.id, sa.Text).label(_ID))
    ordered = statement.add_columns(*named).order_by(place.at.desc(), place.id.desc()).limit(wanted.most + 1)
    try:
        found = fetch(conn, ordered)
    except psycopg.DataError:
        # A place that is none of this list: an id that is no UUID, a time that PostgreSQL does not know.
        if wanted.cursor is None:
            raise
        raise BadCursorError(NOT_OURS) from None
    keys = [(row.pop(_AT), row.pop(_ID)) for row in found]
    more = len(found) > wanted.most
    return Page(found[: wanted.most], encode(*keys[wanted.most - 1]) if more else None)


def encode(at: str, row_id: str) -> str:
    """The cursor of what comes after this row."""
    return urlsafe_b64encode(json.dumps([at, row_id]).encode()).decode().rstrip("=")


def decode(cursor: str) -> tuple[str, str]:
    """The place of the row that a cursor begins after.

    Raises:
        BadCursorError: it is no cursor.
    """
    try:
        at, row_id = json.loads(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
        datetime.fromisoformat(at)
    except (ValueError, TypeError):
        raise BadCursorError(NOT_OURS) from None
    if not isinstance(row_id, str) or "\0" in row_id:
        raise BadCursorError(NOT_OURS)
    return at, row_id
