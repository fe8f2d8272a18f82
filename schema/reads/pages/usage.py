"""Pages of what users have used in a month, and what they owe."""

from collections.abc import Collection

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.pages.keyset import EPOCH, Page, Place, Wanted, page
from pgfleet.schema.reads.usage import Month, rows
from pgfleet.schema.tables.hopsworks import hopsworks_users

_u = hopsworks_users.c
_made = sa.func.coalesce(_u.created_at, sa.cast(EPOCH.isoformat(), _u.created_at.type))
_PLACE = Place(_made, _u.id, _made)


def listed(conn: Connection, month: Month, users: Collection[str] | None, wanted: Wanted) -> Page:
    """Users with usage in the month, a credit or a charge, by when they were made; None is everybody.

    Raises:
        BadCursorError: there is no such page.
    """
    statement = rows(month)
    return page(conn, statement if users is None else statement.where(_u.id.in_(users)), _PLACE, wanted)
