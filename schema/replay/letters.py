"""Dead letters: listed, shown, replayed and discarded. An answered one stays, with who answered it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa

from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import FLEET_NOW, cut, fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.runtime import dead_letters

_d = dead_letters.c


# Numbers and ids in reasons, which otherwise say the same.
VARIABLE = "[0-9a-f]{8}(-[0-9a-f]{4,12})*|[0-9]+"
AT_ONCE = 500
# It can't be brought back; there is none; it is answered.
REFUSED = ("PF006", "PF008", "PF409")
# As text: of one of many, and of one, which is no more than a worker loads (101).
LISTED_BYTES, SHOWN_BYTES = 65_536, 1_048_576


@dataclass(frozen=True, slots=True)
class Filters:
    """Which dead letters; all open ones if nothing is given.

    Attributes:
        verdict: 'rejection' or 'failure'.
        reason: a part of the reason, in whatever case.
        row: the beginning of the id of what they are about.
    """

    queue: str | None = None
    verdict: str | None = None
    reason: str | None = None
    row: str | None = None
    answered_too: bool = False

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        asked = [
            self.queue is not None and _d.queue == self.queue,
            self.verdict is not None and _d.verdict == self.verdict,
            self.reason is not None and _d.reason.icontains(self.reason, autoescape=True),
            self.row is not None and _d.row_id.startswith(self.row, autoescape=True),
            not self.answered_too and _d.answered_at.is_(None),
        ]
        return [condition for condition in asked if not isinstance(condition, bool)]


def listing(conn: Connection, filters: Filters, most: int = 200) -> list[Row]:
    """Dead letters, newest first."""
    columns = _columns(LISTED_BYTES)
    return fetch(conn, sa.select(*columns).where(*filters.conditions()).order_by(_d.dead_letter_id.desc()).limit(most))


def count(conn: Connection, filters: Filters) -> int:
    """How many there are."""
    number: int = fetch(conn, sa.select(sa.func.count().label("n")).where(*filters.conditions()))[0]["n"]
    return number


def reasons(conn: Connection, filters: Filters, most: int) -> list[Row]:
    """How many died of what, the most first: number, newest, queue, verdict, reason with `#` for numbers and ids."""
    reason = sa.func.regexp_replace(_d.reason, VARIABLE, "#", "g").label("reason")
    number = sa.func.count().label("number")
    return fetch(
        conn,
        sa.select(number, sa.func.max(_d.died_at).label("newest"), _d.queue, _d.verdict, reason)
        .where(*filters.conditions())
        .group_by(_d.queue, _d.verdict, reason)
        .order_by(number.desc(), reason)
        .limit(most),
    )


def open_numbers(conn: Connection, filters: Filters) -> list[int]:
    """The numbers of open letters, oldest first: as they died, so they are answered."""
    open_ones = (*filters.conditions(), _d.answered_at.is_(None))
    statement = sa.select(_d.dead_letter_id).where(*open_ones).order_by(_d.dead_letter_id)
    return [row["dead_letter_id"] for row in fetch(conn, statement)]


def discard_all(conn: Connection, numbers: list[int], who: str) -> Iterator[int]:
    """Say that nothing needs to be done about many letters; after so many each how many that were.

    Those that somebody else has answered meanwhile stay as they are.
    """
    values: dict[str, Any] = {"answered_at": FLEET_NOW, "answer": "discarded", "answered_by": who}
    for first in range(0, len(numbers), AT_ONCE):
        mine = _d.dead_letter_id.in_(numbers[first : first + AT_ONCE])
        statement = sa.update(dead_letters).where(mine, _d.answered_at.is_(None)).values(values)
        yield len(fetch(conn, statement.returning(_d.dead_letter_id)))


def one(conn: Connection, letter_id: int) -> Row:
    """Raises Refusal: there is none of this number."""
    return _found(fetch(conn, sa.select(*_columns(SHOWN_BYTES)).where(_d.dead_letter_id == letter_id)), letter_id)


def replay(conn: Connection, letter_id: int, who: str) -> str:
    """Give a message another life, and its row if it failed with it; in one transaction. What was done.

    Raises:
        Refusal: there is no such letter, it is answered already, or its row can't be brought back, at present or ever.
    """
    return _answer(conn, letter_id, "replayed", who)


def discard(conn: Connection, letter_id: int, who: str) -> None:
    """Say that nothing needs to be done about a letter.

    Raises:
        Refusal: there is no such letter, or it is answered already.
    """
    _answer(conn, letter_id, "discarded", who)


def _answer(conn: Connection, letter_id: int, answer: str, who: str) -> str:
    """As `159_letters.sql` does it; what that refuses undoes nothing else of the caller's transaction."""
    try:
        with conn.transaction():
            (answered,) = fetch(conn, sa.select(sa.func.public.answer_letter(letter_id, answer, who).label("done")))
    except psycopg.Error as error:
        if error.sqlstate not in REFUSED:
            raise
        said = (error.diag.message_primary, error.diag.message_hint)
        raise Refusal(" ".join(printable(part) for part in said if part)) from None
    return str(answered["done"])


def _columns(most: int) -> list[sa.ColumnElement[Any]]:
    return [cut(column, most) if column.name in {"message", "headers"} else column for column in _d]


def _found(letters: list[Row], letter_id: int) -> Row:
    if not letters:
        raise Refusal(f"There is no dead letter {letter_id}. See `pgfleet dead`.")
    return letters[0]
