"""Reading queues for people: how many messages are ready, delayed or claimed, and how many have died."""

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import FLEET_NOW, fetch, queue_table
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.runtime import dead_letters

_meta = sa.table("meta", sa.column("queue_name", sa.Text), schema="pgmq")
_d = dead_letters.c
# What a dead letter is whose sender made the mistake (036).
REJECTION = "rejection"
ANSWERS = "node_replies_"
NO_LETTERS = {"dead": 0, "rejected": 0, "failed": 0}


def depths(conn: Connection) -> list[Row]:
    """One record a queue: queue, ready, delayed, in_hand, oldest_ready_s (None: nothing is ready), and its letters.

    These are its open dead letters: `dead` all of them, `rejected` for a mistake of their sender, `failed` by us.
    """
    names = [row["queue_name"] for row in fetch(conn, _queues())]
    letters = {row["queue"]: {name: row[name] for name in NO_LETTERS} for row in fetch(conn, _open_letters())}
    return [Row({"queue": name, **fetch(conn, _depth(name))[0], **letters.get(name, NO_LETTERS)}) for name in names]


def _queues() -> sa.Select[tuple[str]]:
    """All but those of nodes' answers: there may be thousands, and a node may lock its own."""
    name = _meta.c.queue_name
    return sa.select(name).where(~name.startswith(ANSWERS, autoescape=True)).order_by(name)


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


def _open_letters() -> sa.Select[tuple[str, int, int, int]]:
    rejected = _d.verdict == REJECTION
    counted = (
        sa.func.count().label("dead"),
        sa.func.count().filter(rejected).label("rejected"),
        sa.func.count().filter(~rejected).label("failed"),
    )
    return sa.select(_d.queue, *counted).where(_d.answered_at.is_(None)).group_by(_d.queue)
