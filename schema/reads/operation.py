"""Reading operations on disks for people: one by its id, those of a disk, and requests that nobody has taken yet."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.disk import QUEUE, REQUESTS
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.about import Subject, letters, may_read, messages
from pgfleet.schema.reads.disk import RECENT, as_text, whole
from pgfleet.schema.reads.resolve import CANDIDATES, Several, first, only
from pgfleet.schema.rows.core import fetch, queue_table
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.disks import disk_operations, disk_snapshots

OPERATION = Subject(QUEUE, "operation_id")
_o, _s = disk_operations.c, disk_snapshots.c
_queue = queue_table(QUEUE).c
_COLUMNS = (
    *(as_text(_o.operation_id, "operation_id"), _o.action, _o.user_id, _o.disk_name),
    *(_o.source_disk, as_text(_o.disk_id, "disk_id")),
    *(_o.status, _o.status_reason, _o.status_since, _o.error, _o.detail, _o.created_at, _o.finished_at),
    *(as_text(_o.snapshot_id, "snapshot_id"), _s.status.label("snapshot_status"), _s.progress_percent),
)


def rows() -> sa.Select[Any]:
    """Each with the snapshot that it waits for, or has made."""
    return sa.select(*_COLUMNS).select_from(disk_operations.outerjoin(disk_snapshots, _s.snapshot_id == _o.snapshot_id))


def by_id(conn: Connection, operation_id: str) -> Row | None:
    return first(conn, rows().where(_o.operation_id == operation_id))


def by_ids(conn: Connection, ids: Iterable[str]) -> Mapping[str, Row]:
    """Operations by their ids: those that there are. What is no id is none of them."""
    known = {exact for given in ids if (exact := whole(given)) is not None}
    return {row["operation_id"]: row for row in fetch(conn, rows().where(_o.operation_id.in_(known)))} if known else {}


def resolve(conn: Connection, given: str, user_id: str) -> str:
    """The whole id of an operation, of whoever it is; or of what a user has asked for, by the beginning of its id.

    Raises:
        Refusal: several begin so, or none does, or nothing is known of a whole one.
    """
    given = given.strip().lower()
    exact = whole(given)
    if exact is not None:
        if not (messages(conn, OPERATION, exact) or by_id(conn, exact) or letters(conn, OPERATION, exact)):
            raise Refusal(f"There is no operation {exact}. `pgfleet disk show NAME` lists those of a disk.")
        return exact
    begins = sa.cast(_o.operation_id, sa.Text).startswith(given, autoescape=True)
    mine = rows().where(_o.user_id == user_id, begins).order_by(_o.created_at.desc()).limit(CANDIDATES + 1)
    several = Several(
        f"{printable(given)} is the beginning of several operations of {printable(user_id)}",
        lambda row: f"{row['operation_id']}  {row['action']} {row['disk_name']}",
    )
    found = only(fetch(conn, mine) if given else [], several)
    if found is None:
        raise Refusal(
            f"{printable(user_id)} has no operation whose id begins with {printable(given) or 'nothing'}. "
            "`pgfleet disk show NAME` lists those of a disk; one that no worker has taken yet needs its whole id."
        )
    return str(found["operation_id"])


def of_disk(conn: Connection, disk: Mapping[str, Any], most: int = RECENT) -> list[Row]:
    """What was asked of a disk last, newest first; also what was to be cloned from it.

    Not of an earlier one of its name, which is purged.
    """
    waiting = sa.and_(_o.disk_id.is_(None), _o.disk_name == disk["disk_name"])
    named = sa.or_(waiting, _o.source_disk == disk["disk_name"])
    by_name = sa.and_(named, _o.created_at >= disk["created_at"])
    mine = rows().where(_o.user_id == disk["user_id"], sa.or_(_o.disk_id == disk["disk_id"], by_name))
    return fetch(conn, mine.order_by(_o.created_at.desc(), _o.operation_id).limit(most))


def on_their_way(conn: Connection, user_id: str, disk_name: str) -> list[Row]:
    """Requests about a disk that somebody has sent and no worker has taken yet: they may still change what it is.

    None for a login that may not read the queue.
    """
    if not may_read(conn, "pgmq", f"q_{QUEUE}"):
        return []
    body = _queue.message
    named = (body["disk_name"].astext == disk_name, body["target_disk"].astext == disk_name)
    asked = (body["user_id"].astext == user_id, body["action"].astext.in_(sorted(REQUESTS)), sa.or_(*named))
    return fetch(conn, sa.select(_queue.msg_id, body).where(*asked).order_by(_queue.msg_id))
