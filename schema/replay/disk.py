"""failed -> pending: an operation on a disk that failed with its message goes on when its dead letter is replayed."""

import sqlalchemy as sa

from pgfleet.schema.disk import QUEUE, OperationStatus, SnapshotStatus
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable, typed
from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Connection, Outgoing
from pgfleet.schema.rows.core import fetch, sign
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.disks import disk_operations, disk_snapshots, disks

_o, _s, _d = disk_operations.c, disk_snapshots.c, disks.c


def revive(conn: Connection, letter: Row, who: str) -> str | None:
    """Let the failed operation of a letter go on, in the caller's transaction. What was done.

    Returns:
        None where there is no row to bring back: then the letter is sent again as it is.

    Raises:
        Refusal: it is of a snapshot that failed, which never comes back.
    """
    body = letter["message"] if isinstance(letter["message"], dict) else {}
    if body.get("action") == "advance_snapshot":
        _refuse_failed(conn, str(body.get("snapshot_id")))
    if body.get("action") != "proceed":
        return None
    operation_id = _failed_operation(conn, str(body.get("operation_id")))
    if operation_id is None:
        return None
    reason = f"replayed from dead letter {letter['dead_letter_id']}"
    sign(conn, who, reason)
    values = {
        **dict.fromkeys(("error", "finished_at", "status_msg_id"), sa.null()),
        "status": OperationStatus.PENDING.value,
        "status_reason": reason,
    }
    fetch(conn, sa.update(disk_operations).where(_o.operation_id == operation_id).values(values))
    kernel.send(conn, QUEUE, [Outgoing({"action": "proceed", "operation_id": operation_id})])
    return f"operation {operation_id} is pending again"


def _failed_operation(conn: Connection, operation_id: str) -> str | None:
    """Compared as text: a dead letter may hold anything for an id."""
    key = sa.cast(_o.operation_id, sa.Text)
    mine = (key == operation_id, _o.status == OperationStatus.FAILED.value)
    rows = fetch(conn, sa.select(key.label("operation_id")).where(*mine).with_for_update())
    return str(rows[0]["operation_id"]) if rows else None


def _refuse_failed(conn: Connection, snapshot_id: str) -> None:
    mine = (sa.cast(_s.snapshot_id, sa.Text) == snapshot_id, _s.status == SnapshotStatus.FAILED.value)
    named = sa.select(_d.disk_name, _d.user_id).join_from(disk_snapshots, disks, _d.disk_id == _s.disk_id)
    for row in fetch(conn, named.where(*mine)):
        name, user = typed(row["disk_name"], "NAME"), typed(row["user_id"], "USER")
        raise Refusal(
            f"Snapshot {printable(snapshot_id)} failed, and that is its end. "
            f"Ask for a new snapshot: pgfleet disk snapshot {name} --user {user}"
        )
