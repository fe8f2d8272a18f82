"""Reading outages for people: what outside is or was in trouble, and how many messages wait for it."""

from typing import Any

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import FLEET_NOW, fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.hopsworks import hopsworks_clusters
from pgfleet.schema.tables.runtime import outages

MOST = 100
_o, _c = outages.c, hopsworks_clusters.c


def recent(conn: Connection) -> list[Row]:
    """Outages that are open, then those that have ended within a day; the latest first, at most so many.

    Each with `name` for people, `lasted_s`, and `waiting`: how many messages an open one holds.
    """
    rows = fetch(conn, _recent())
    waiting = {queue: held(conn, queue) for queue in {row["queue"] for row in rows if row["ended_at"] is None}}
    return [Row({**row, "waiting": waiting.get(row["queue"], {}).get(row["dependency"], 0)}) for row in rows]


def _recent() -> sa.Select[Any]:
    cluster = sa.literal("hopsworks:") + sa.cast(_c.id, sa.Text)
    lasted = sa.extract("epoch", sa.func.coalesce(_o.ended_at, FLEET_NOW) - _o.began_at)
    columns = (_o.queue, _o.code, _o.reason, _o.began_at, _o.ended_at, _o.retry_at, _o.probes)
    return (
        sa.select(
            _o.dependency,
            sa.func.coalesce(sa.literal("hopsworks ") + _c.name, _o.dependency).label("name"),
            _o.calls,
            *columns,
            sa.cast(lasted, sa.Double).label("lasted_s"),
            # A minute after it was due: then no worker runs.
            (_o.retry_at < FLEET_NOW - sa.text("interval '1 minute'")).label("is_overdue"),
        )
        .select_from(outages.outerjoin(hopsworks_clusters, _o.dependency == cluster))
        .where(_o.ended_at.is_(None) | (_o.ended_at > FLEET_NOW - sa.text("interval '1 day'")))
        .order_by(_o.ended_at.is_not(None), _o.began_at.desc(), _o.outage_id)
        .limit(MOST)
    )


def held(conn: Connection, queue: str) -> dict[str, int]:
    """How many messages of a queue wait, by dependency."""
    counted = sa.func.public.messages_held(queue).table_valued("waits_for", "number")
    return {row["waits_for"]: row["number"] for row in fetch(conn, sa.select(counted))}
