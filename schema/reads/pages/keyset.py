"""One page of a list: newest first by (a time that never changes, an id), from where a cursor says.

The next page begins after the last row of this one, whatever has come or gone meanwhile. Who turns pages reads nothing
into a cursor: its form may change.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa

from pgfleet.schema.errors import FleetError
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.pages.opaque import closed, opened
from pgfleet.schema.rows.core import Written, fetch_written
from pgfleet.schema.rows.row import Row

MOST = 200
USUAL = 50
NOT_OURS = "cursor: must be one that a page of this list has given"
# What a row's place is called in the statement; not told.
_AT, _ID = "page_at", "page_id"
# What a page gives to its statement.
_AFTER_AT, _AFTER_ID, _SINCE, _MOST = "page_after_at", "page_after_id", "page_since", "page_most"
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


@dataclass(frozen=True)
class Pages:
    """A list that is asked for often: its statement is written once for each choice of its conditions.

    Attributes:
        statement: all rows, without an order.
        conditions: by name; one that compares has the parameter of its name.
    """

    statement: sa.Select[Any]
    place: Place
    conditions: Mapping[str, sa.ColumnElement[bool]]
    _written: dict[tuple[str | bool, ...], Written] = field(default_factory=dict, init=False, repr=False)

    def page(self, conn: Connection, wanted: Wanted, **given: Any) -> Page:
        """Under those conditions for which something is given; None is nothing.

        Raises:
            BadCursorError: the cursor is none of this list, or `most` is not 1 to 200.
        """
        asked = {name: value for name, value in given.items() if value is not None}
        choice: tuple[str | bool, ...] = (*asked, wanted.cursor is not None, wanted.since is not None)
        written = self._written.get(choice)
        if written is None:
            under = self.statement.where(*(self.conditions[name] for name in asked))
            written = self._written[choice] = _written(under, self.place, wanted)
        return _found(conn, written, wanted, asked)


def page(conn: Connection, statement: sa.Select[Any], place: Place, wanted: Wanted) -> Page:
    """A page of a statement that has no order yet.

    Raises:
        BadCursorError: the cursor is none of this list, or `most` is not 1 to 200.
    """
    return _found(conn, _written(statement, place, wanted), wanted, {})


def _written(statement: sa.Select[Any], place: Place, wanted: Wanted) -> Written:
    """In its order, and with the parameters that `_found` gives."""
    if wanted.cursor is not None:
        keys = ((_AFTER_AT, place.at), (_AFTER_ID, place.id))
        after = (sa.cast(sa.bindparam(name, "", sa.Text), column.type) for name, column in keys)
        statement = statement.where(sa.tuple_(place.at, place.id) < sa.tuple_(*after))
    if wanted.since is not None:
        statement = statement.where(place.changed >= sa.bindparam(_SINCE, EPOCH, sa.TIMESTAMP(timezone=True)))
    named = (sa.cast(place.at, sa.Text).label(_AT), sa.cast(place.id, sa.Text).label(_ID))
    ordered = statement.add_columns(*named).order_by(place.at.desc(), place.id.desc())
    return Written(ordered.limit(sa.bindparam(_MOST, 0, sa.Integer)))


def _found(conn: Connection, written: Written, wanted: Wanted, given: Mapping[str, Any]) -> Page:
    if not 1 <= wanted.most <= MOST:
        raise BadCursorError(f"limit: 1 to {MOST}, not {wanted.most}")
    after = ("", "") if wanted.cursor is None else decode(wanted.cursor)
    values = {_AFTER_AT: after[0], _AFTER_ID: after[1], _SINCE: wanted.since, _MOST: wanted.most + 1}
    try:
        found = fetch_written(conn, written, **values, **given)
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
    return closed(at, row_id)


def decode(cursor: str) -> tuple[str, str]:
    """The place of the row that a cursor begins after.

    Raises:
        BadCursorError: it is no cursor.
    """
    try:
        at, row_id = opened(cursor)
        datetime.fromisoformat(at)
    except (ValueError, TypeError):
        raise BadCursorError(NOT_OURS) from None
    if not isinstance(row_id, str):
        raise BadCursorError(NOT_OURS)
    return at, row_id
