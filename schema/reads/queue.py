"""Reading queues for people: how many messages are ready, delayed or claimed, and how many have died."""

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import FLEET_NOW, fetch, queue_table
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.runtime import dead_letters

_meta = sa.table("meta", sa.column("queue_name", sa.Text), schema="pgmq")
_d = dead_letters.c


def depths(conn: Connection) -> list[Row]:
    """One record a queue: queue, ready, delayed, in_hand, dead, oldest_ready_s (None where nothing is ready)."""
    names = [row["queue_name"] for row in fetch(conn, sa.select(_meta.c.queue_name).order_by("queue_name"))]
    dead = {row["queue"]: row["dead"] for row in fetch(conn, _open_letters())}
    return [Row({"queue": name, **fetch(conn, _depth(name))[0], "dead": dead.get(name, 0)}) for name in names]


def _depth(queue: str) -> sa.Select[tuple[int, int, int, float]]:
    """In hand: claimed by a worker, or put back by one until later."""
    q = queue_table(queue).c
    ready, read = q.vt <= FLEET_NOW, q.read_ct > 0
    oldest = sa.extract("epoch", FLEET_NOW - sa.func.min(sa.func.greatest(q.vt, q.enqueued_at)).filter(ready))
    return sa.select(
        sa.func.count().filter(ready).label("ready"),
        sa.func.count().filter(~ready, ~read).label("delayed"),
        sa.func.count().filter(~ready, read).label("in_hand"),
        sa.cast(oldest, sa.Double).label("oldest_ready_s"),
    )


def _open_letters() -> sa.Select[tuple[str, int]]:
    return sa.select(_d.queue, sa.func.count().label("dead")).where(_d.answered_at.is_(None)).group_by(_d.queue)
