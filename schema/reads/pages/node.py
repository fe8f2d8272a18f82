"""Pages of the autoscaler's nodes."""

from dataclasses import replace

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.node import NodeFilters, rows, with_pools
from pgfleet.schema.reads.pages.keyset import EPOCH, Page, Place, Wanted, page
from pgfleet.schema.tables.autoscaler import nodes

_n = nodes.c
_made = sa.func.coalesce(_n.created_at, sa.cast(EPOCH.isoformat(), _n.created_at.type))
_PLACE = Place(_made, _n.id, _n.status_since)


def listed(conn: Connection, filters: NodeFilters, wanted: Wanted) -> Page:
    """Nodes by when they were made, each with its `pools` and its `drift`; `since`: those whose state has changed.

    Raises:
        BadCursorError: there is no such page.
    """
    found = page(conn, rows(filters), _PLACE, wanted)
    return replace(found, rows=with_pools(conn, found.rows))
