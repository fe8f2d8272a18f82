"""Which row a person means by what they typed: an id, a name, or the unique beginning of one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row

CANDIDATES = 10


@dataclass(frozen=True, slots=True)
class Several:
    """What is said where several rows fit: a sentence, then a line for each of the first `most`."""

    text: str
    line: Callable[[Row], str]
    most: int = CANDIDATES
    error: type[FleetError] = Refusal


def first(conn: Connection, statement: sa.Select[Any]) -> Row | None:
    rows = fetch(conn, statement)
    return rows[0] if rows else None


def only(found: Sequence[Row], several: Several) -> Row | None:
    """The one row that was found; None where none was.

    Raises:
        FleetError: several were; the message lists them.
    """
    if len(found) > 1:
        listed = "\n".join(f"  {several.line(row)}".rstrip() for row in found[: several.most])
        more = "\n  and more" if len(found) > several.most else ""
        raise several.error(f"{several.text}:\n{listed}{more}")
    return found[0] if found else None


def best(
    conn: Connection, rows: sa.Select[Any], conditions: Iterable[sa.ColumnElement[bool]], several: Several
) -> Row | None:
    """The one row that meets the first condition that any row meets; None where none meets any.

    Raises:
        FleetError: several meet it.
    """
    for condition in conditions:
        found = only(fetch(conn, rows.where(condition).limit(several.most + 1)), several)
        if found is not None:
            return found
    return None


def begins(given: str, *columns: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Whether one of the columns begins so, letter case aside."""
    return sa.or_(*(sa.func.lower(column).startswith(given.lower(), autoescape=True) for column in columns))
