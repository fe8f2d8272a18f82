"""An operation: a row that its disk, or its snapshot, brings to its end; and how each end is written.

pending --> in_progress --> completed
   |             |
   +-------------+--> failed
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from pgfleet.schema.disk import UNFINISHED, Operation, OperationStatus, SnapshotStatus, Status
from pgfleet.schema.policy.limits import beyond
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.disks import disk_operations
from pgfleet.workers.disk.tools import Turn, proceed, volume_poll
from pgfleet.workers.disk.view import View
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, New, Outcome, Reject, Wait, wait


def start(message: Operation, turn: Turn) -> Outcome:
    """(new) -> pending."""
    row = turn.view.operations.get(message.operation_id)
    if row is not None:
        # A producer may have inserted it itself; otherwise it is a duplicate.
        if row.user_id != message.user_id:
            return Reject(f"operation {message.operation_id} does not belong to {message.user_id}")
        if is_unchecked(row):
            return _take_up(row, message, turn)
        waiting = row.status == OperationStatus.PENDING
        return Done(f"known already, {row.status}", (proceed(row.operation_id),) if waiting else ())
    too_many = beyond(turn.view.limits, message.user_id, disk_operations=1)
    if too_many:
        return Reject(too_many)
    values = {**_asked(message), "operation_id": UUID(message.operation_id), "created_at": turn.sent_at}
    new = New(disk_operations, OperationStatus.PENDING, "asked for", values)
    return Advance((new,), (proceed(message.operation_id),))


def _asked(message: Operation) -> dict[str, Any]:
    """What a message itself says is in its row."""
    return {
        "action": message.action,  # type: ignore[attr-defined]  # every operation has one
        "user_id": message.user_id,
        "disk_name": message.disk_name,  # type: ignore[attr-defined]  # every operation has one
        "body": message.model_dump(mode="json"),
    }


def is_unchecked(row: Row) -> bool:
    """Whether the API has placed it with its message (168), and nobody has looked yet whether it may be."""
    return row.unchecked_since is not None and row.status == OperationStatus.PENDING


def _take_up(row: Row, message: Operation, turn: Turn) -> Outcome:
    """It goes on as a new one would, if it is what the message asks for."""
    wrong = [name for name, value in _asked(message).items() if row[name] != value]
    unlike = f"{', '.join(wrong)}: not as the row has it that was placed with the message" if wrong else None
    problem = unlike or beyond(turn.view.limits, row.user_id, disk_operations=1)
    if problem:
        return Reject(problem, failed(row, problem, turn.view).changes)
    return Advance((Move(row, None, values={"unchecked_since": None}),), (proceed(row.operation_id),))


def finish(row: Row, turn: Turn) -> Outcome:
    """In_progress -> completed | failed, once the disk or snapshot that it works on has come to its end."""
    disk = turn.view.disks.get(str(row.disk_id))
    snapshot = turn.view.snapshots.get(str(row.snapshot_id)) if row.snapshot_id else None
    if row.action == "snapshot_disk":
        return _as_snapshot(row, snapshot, turn)
    if disk is None:
        return failed(row, "its disk is gone", turn.view)
    if row.action == "clear_disk_lock":
        over = disk.status != Status.ATTACHED or disk.release_asked_at is None
        return completed(row, turn, None, disk.disk_id) if over else Done("it is being released")
    if disk.status == Status.FAILED:
        return failed(row, disk.status_reason or "it could not be made", turn.view)
    return Done("it is being made") if disk.status == Status.CREATING else completed(row, turn, None, disk.disk_id)


def _as_snapshot(row: Row, snapshot: Row | None, turn: Turn) -> Outcome:
    disk = turn.view.disks.get(str(row.disk_id))
    if snapshot is not None and snapshot.status == SnapshotStatus.FAILED and snapshot.operation_id is None:
        return _as_next(row, disk, turn) if disk is not None else failed(row, "its disk is gone", turn.view)
    if snapshot is None or snapshot.status == SnapshotStatus.FAILED:
        return failed(row, (snapshot and snapshot.failure_reason) or "its snapshot is gone", turn.view)
    return Done("it is being made") if snapshot.status in UNFINISHED else completed(row, turn, None, row.disk_id)


def _as_next(row: Row, disk: Row, turn: Turn) -> Outcome:
    """The snapshot of a release has failed, which is made again until there is one."""
    if disk.status != Status.ATTACHED or disk.release_asked_at is None:
        newest = turn.view.newest(disk)
        return completed(row, turn, None, disk.disk_id, newest and newest.snapshot_id)
    if disk.release_snapshot_id == row.snapshot_id:
        return Done("it is tried again")
    return Advance((Move(row, None, values={"snapshot_id": disk.release_snapshot_id}),), (proceed(row.operation_id),))


def find(row: Row, turn: Turn, name: str | None = None) -> Row | Wait | Reject:
    """The disk of this name; one that nobody knows yet may be on its way.

    That it did not come is its user's to see to, and nobody else's.
    """
    name = name or row.disk_name
    disk = turn.view.names.get((row.user_id, name))
    if disk is not None:
        return disk
    patience = row.created_at + timedelta(seconds=turn.tools.settings.unknown_row_s)
    if turn.now < patience:
        return Wait(f"no disk {name} yet", patience)
    unknown = f"{row.user_id} has no disk {name}; see `pgfleet disk ls`"
    return Reject(unknown, failed(row, unknown, turn.view).changes)


def put_off(row: Row, detail: str, turn: Turn) -> Wait:
    return wait(row, detail, volume_poll(turn))


def begun(row: Row, disk_id: Any, snapshot_id: Any = None) -> Move:
    values = {"disk_id": disk_id, "snapshot_id": snapshot_id, "detail": None}
    return Move(row, OperationStatus.IN_PROGRESS, row.action, values)


def completed(row: Row, turn: Turn, detail: str | None, disk_id: Any = None, snapshot_id: Any = None) -> Advance:
    values = {
        "disk_id": disk_id or row.disk_id,
        "snapshot_id": snapshot_id or row.snapshot_id,
        "finished_at": turn.now,
        "detail": detail,
    }
    return Advance((Move(row, OperationStatus.COMPLETED, detail or "done", values),))


def failed(row: Row, reason: str, view: View) -> Advance:
    """The error is for the user who has asked; nothing else has changed."""
    disk = view.names.get((row.user_id, row.disk_name))
    values = {
        "error": reason[:1000],
        "finished_at": view.now,
        "unchecked_since": None,
        "disk_id": row.disk_id or (disk and disk.disk_id),
    }
    return Advance((Move(row, OperationStatus.FAILED, reason[:1000], values),))


def in_use(disk: Row) -> str:
    """Why nobody else can have a disk now."""
    if disk.status == Status.CREATING:
        return f"disk {disk.disk_name} is still being made"
    if disk.release_asked_at is not None or (disk.status == Status.ATTACHED and disk.reservation_id is None):
        return f"disk {disk.disk_name} is being released: {disk.detail or 'its snapshot is not completed'}"
    if disk.status == Status.ATTACHED:
        return f"disk {disk.disk_name} is attached to reservation {disk.reservation_id}: cancel it first"
    if disk.pending_snapshot_count:
        return f"disk {disk.disk_name} has a snapshot that is not completed yet"
    return f"disk {disk.disk_name} is {disk.status}"


def gone_at(disk: Row, turn: Turn) -> Any:
    """When a deleted disk can no longer be brought back."""
    return (disk.marked_deleted_at or disk.status_since) + timedelta(seconds=turn.tools.settings.disk_kept_s)
