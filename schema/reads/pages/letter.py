"""Pages of dead letters, without their bodies: those hold what people have written."""

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.pages.keyset import Page, Place, Wanted, page
from pgfleet.schema.reads.resolve import first
from pgfleet.schema.replay.letters import Filters
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.runtime import dead_letters

_d = dead_letters.c
_PLACE = Place(_d.died_at, _d.dead_letter_id, sa.func.greatest(_d.died_at, _d.answered_at))
_COLUMNS = (
    *(_d.dead_letter_id, _d.queue, _d.msg_id, _d.row_id, _d.reason, _d.verdict, _d.attempts),
    *(_d.enqueued_at, _d.died_at, _d.answered_at, _d.answer, _d.answered_by),
)


def listed(conn: Connection, filters: Filters, wanted: Wanted) -> Page:
    """Dead letters by when they died.

    Raises:
        BadCursorError: there is no such page.
    """
    return page(conn, sa.select(*_COLUMNS).where(*filters.conditions()), _PLACE, wanted)


def by_number(conn: Connection, number: int) -> Row | None:
    """One dead letter, without its body."""
    return first(conn, sa.select(*_COLUMNS).where(_d.dead_letter_id == number))
