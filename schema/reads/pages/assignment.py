"""Pages of users of Hopsworks that have an assignment, or had one."""

from collections.abc import Collection

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.assignment import UserFilters, assigned
from pgfleet.schema.reads.pages.keyset import EPOCH, Page, Place, Wanted, page


def listed(conn: Connection, filters: UserFilters, users: Collection[str] | None, wanted: Wanted) -> Page:
    """Users by when they were made, each with its assignment; `users` are ids at Auth0, None is everybody.

    Raises:
        BadCursorError: there is no such page.
    """
    statement, user, row = assigned(filters)
    if users is not None:
        statement = statement.where(user.id.in_(users))
    made = sa.func.coalesce(user.created_at, sa.cast(EPOCH.isoformat(), user.created_at.type))
    return page(conn, statement, Place(made, user.id, row.status_since), wanted)
