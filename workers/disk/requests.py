"""What people ask of disks: each operation is a row, which its disk or its snapshot brings to its end."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from pgfleet.schema import reservation
from pgfleet.schema.disk import DEFAULT_SIZE_GB, LIVE_OPERATION, OperationStatus, SnapshotStatus, Status, read
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.policy.limits import beyond
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.disks import disk_snapshots, disks
from pgfleet.workers.disk.operation import (
    begun,
    completed,
    failed,
    find,
    finish,
    gone_at,
    in_use,
    is_unchecked,
    put_off,
)
from pgfleet.workers.disk.tools import Turn, proceed
from pgfleet.workers.disk.volume import source_problem
from pgfleet.workers.handover import disk_ticket, hand_out_disk, release, snapshot_ticket
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, New, Outcome, RefusedError, Reject, Send, Wait
from pgfleet.workers.runtime.tickets import withdraw

LOST = "its message was lost, or could not be read"
NOBODY_USES_IT = "nobody uses the disk: its newest snapshot holds all"


def go_on(row: Row, turn: Turn) -> Outcome:
    """Pending -> in_progress | completed | failed; in_progress -> completed | failed."""
    if row.status not in LIVE_OPERATION:
        return Done(f"it is {row.status}")
    if row.status == OperationStatus.IN_PROGRESS:
        return finish(row, turn)
    if is_unchecked(row):
        # Only the sweep lets it go on, where there is no message.
        return failed(row, LOST, turn.view)
    if row.action not in ACTIONS:
        raise RefusedError(f"action: {row.action} is not known")
    problem = _unusable(row)
    return failed(row, problem, turn.view) if problem else ACTIONS[row.action](row, turn)


def _unusable(row: Row) -> str | None:
    """Why nothing can be done for a row that somebody else inserted: nobody has checked it as a message is checked."""
    name = "target_disk" if row.action == "clone_disk" else "disk_name"
    columns = {"action": row.action, "operation_id": str(row.operation_id), "user_id": row.user_id, name: row.disk_name}
    try:
        read({**(row.body if isinstance(row.body, dict) else {}), **columns})
    except BadMessage as error:
        return str(error)
    return None


def _create(row: Row, turn: Turn) -> Outcome:
    there = turn.view.names.get((row.user_id, row.disk_name))
    if there is not None:
        return _again(row, there, turn)
    size_gb = row.body["size_gb"]
    too_many = beyond(turn.view.limits, row.user_id, disks=1, disk_gb=size_gb)
    if too_many:
        return failed(row, too_many, turn.view)
    new = _new_disk(row, size_gb)
    return Advance((new, begun(row, new.values["disk_id"])), (_first_ticket(new),))


def _again(row: Row, there: Row, turn: Turn) -> Outcome:
    """Its own disk, where it was replayed; else the name is taken."""
    if there.disk_id == row.disk_id:
        return Advance((begun(row, there.disk_id, row.snapshot_id),), (_look_soon(row),))
    return failed(row, _taken(there), turn.view)


def _taken(disk: Row) -> str:
    if disk.status == Status.DELETED:
        return (
            f"disk {disk.disk_name} was deleted and can be brought back until {disk.delete_date}:"
            f" pgfleet disk undelete {disk.disk_name}"
        )
    return f"there is a disk {disk.disk_name} already"


def _new_disk(row: Row, size_gb: int) -> New:
    """Made once: the operation moves on in the same commit."""
    values = {
        "disk_id": uuid4(),
        "disk_name": row.disk_name,
        "user_id": row.user_id,
        "size_gb": size_gb,
        "created_at": row.created_at,
        "operation_id": UUID(str(row.operation_id)),
        "operation_status": OperationStatus.IN_PROGRESS,
        "ticket": 1,
    }
    return New(disks, Status.CREATING, row.action, values)


def _first_ticket(disk: New) -> Send:
    return disk_ticket(disk.values["disk_id"], 1)


def _snapshot(row: Row, disk: Row, turn: Turn) -> Outcome:
    newest = turn.view.newest(disk)
    match disk.status:
        case Status.ATTACHED if disk.release_asked_at is not None and disk.release_snapshot_id is not None:
            # The one of its release holds all that there is.
            return Advance((begun(row, disk.disk_id, disk.release_snapshot_id),), (_look_soon(row),))
        case Status.ATTACHED if disk.ebs_volume_id is not None and not disk.volume_is_new:
            too_many = beyond(turn.view.limits, row.user_id, disk_snapshots=1)
            if too_many:
                return failed(row, too_many, turn.view)
            new = _new_snapshot(
                row, disk, {"ebs_volume_id": disk.ebs_volume_id, "kind": row.body.get("kind", "manual")}
            )
            return Advance(
                (as_it_is(disk), new, begun(row, disk.disk_id, new.values["snapshot_id"])), (_first_look(new),)
            )
        case Status.ATTACHED | Status.CREATING:
            return put_off(row, "waits for the disk's volume", turn)
        case Status.AVAILABLE if newest is not None:
            return completed(row, turn, NOBODY_USES_IT, disk.disk_id, newest.snapshot_id)
        case Status.AVAILABLE:
            return failed(row, f"disk {disk.disk_name} is empty: no reservation has used it yet", turn.view)
        case _:
            return failed(row, f"disk {disk.disk_name} is {disk.status}", turn.view)


def _new_snapshot(row: Row, disk: Row, values: dict[str, Any]) -> New:
    """Made once: the operation moves on in the same commit."""
    shared = {
        "snapshot_id": uuid4(),
        "disk_id": disk.disk_id,
        "operation_id": UUID(str(row.operation_id)),
        "size_gb": disk.size_gb,
        "ticket": 1,
    }
    return New(disk_snapshots, SnapshotStatus.PENDING, row.action, {**shared, **values})


def as_it_is(disk: Row) -> Move:
    """Committed only while the disk is as it was looked at: its release would not wait for what it does not know of."""
    return Move(disk, None, values={"detail": disk.detail})


def _first_look(snapshot: New) -> Send:
    return snapshot_ticket(snapshot.values["snapshot_id"], 1)


def _look_soon(row: Row) -> Send:
    """What it follows may have come to its end between the look and the commit."""
    return proceed(row.operation_id)


def _delete(row: Row, disk: Row, turn: Turn) -> Outcome:
    if disk.status == Status.DELETED:
        return completed(row, turn, f"it was deleted already, until {disk.delete_date}", disk.disk_id)
    if disk.status != Status.AVAILABLE or disk.pending_snapshot_count:
        return failed(row, in_use(disk), turn.view)
    if disk.ebs_volume_id is not None:
        return failed(
            row, f"its volume {disk.ebs_volume_id} has no snapshot yet: reserve with it once, and end that", turn.view
        )
    until = turn.later(turn.tools.settings.disk_kept_s)
    values = {"marked_deleted_at": turn.now, "delete_date": until.date(), "detail": None}
    detail = f"it can be brought back until {until:%Y-%m-%d}"
    gone = hand_out_disk(Move(disk, Status.DELETED, "its user", values), until)
    return gone + completed(row, turn, detail, disk.disk_id)


def _undelete(row: Row, disk: Row, turn: Turn) -> Outcome:
    if disk.status != Status.DELETED:
        return failed(row, f"disk {disk.disk_name} is not deleted: it is {disk.status}", turn.view)
    if turn.now >= gone_at(disk, turn):
        return failed(row, f"too late: disk {disk.disk_name} could be brought back until {disk.delete_date}", turn.view)
    values = {"marked_deleted_at": None, "delete_date": None}
    back = withdraw(Move(disk, Status.AVAILABLE, "its user", values))
    return back + completed(row, turn, None, disk.disk_id)


def _clone(row: Row, turn: Turn) -> Outcome:
    name = row.body.get("source_disk", "")
    there = turn.view.names.get((row.user_id, row.disk_name))
    if there is not None:
        return _again(row, there, turn)
    source = find(row, turn, name)
    if isinstance(source, (Wait, Reject)):
        return source
    if source.status in (Status.DELETED, Status.PURGED, Status.FAILED):
        return failed(row, f"disk {name} is {source.status}", turn.view)
    if source.data_lost:
        return failed(row, f"disk {name}: {source.data_lost}", turn.view)
    if source.status == Status.CREATING or source.release_asked_at is not None:
        return put_off(row, f"waits for disk {name}: {source.detail or 'being made'}", turn)
    size_gb = source.size_gb or DEFAULT_SIZE_GB
    too_many = beyond(turn.view.limits, row.user_id, disks=1, disk_gb=size_gb)
    if too_many:
        return failed(row, too_many, turn.view)
    target = _new_disk(row, size_gb)
    copied = _origin(source, turn)
    problem = source_problem(source, None) if copied is None else None
    if problem:
        return failed(row, f"disk {name}: {problem}", turn.view)
    if copied is None:
        return Advance((target, begun(row, target.values["disk_id"])), (_first_ticket(target),))
    disk = Row({"disk_id": target.values["disk_id"], "size_gb": source.size_gb})
    new = _new_snapshot(row, disk, {"kind": "manual", **copied})
    changes = (as_it_is(source), target, new, begun(row, disk.disk_id, new.values["snapshot_id"]))
    return Advance(changes, (_first_ticket(target), _first_look(new)))


def _origin(source: Row, turn: Turn) -> dict[str, Any] | None:
    """What a clone is made of: the volume of a disk in use, else the snapshot that would be attached; None if empty."""
    if source.status == Status.ATTACHED and source.ebs_volume_id is not None and not source.volume_is_new:
        return {"ebs_volume_id": source.ebs_volume_id}
    restored = turn.view.snapshots.get(str(source.next_snapshot_id)) if source.next_snapshot_id else None
    newest = restored or turn.view.newest(source)
    return {"copied_from": newest.ebs_snapshot_id} if newest else None


def _restore(row: Row, disk: Row, turn: Turn) -> Outcome:
    if disk.status != Status.AVAILABLE:
        return failed(row, in_use(disk), turn.view)
    snapshot = turn.view.snapshots.get(row.body.get("snapshot_id", ""))
    if snapshot is None or snapshot.disk_id != disk.disk_id or snapshot.status != SnapshotStatus.COMPLETED:
        is_now = f"; it is {snapshot.status}" if snapshot is not None and snapshot.disk_id == disk.disk_id else ""
        return failed(
            row, f"disk {disk.disk_name} has no completed snapshot {row.body.get('snapshot_id')}{is_now}", turn.view
        )
    move = Move(disk, None, values={"next_snapshot_id": snapshot.snapshot_id, "data_lost": None})
    # Kept, too, by whoever prunes just now.
    chosen = Move(snapshot, None, values={"failure_reason": snapshot.failure_reason})
    detail = f"the next reservation finds it as of {snapshot.completed_at:%Y-%m-%d %H:%M}"
    return Advance((move, chosen)) + completed(row, turn, detail, disk.disk_id, snapshot.snapshot_id)


def _clear_lock(row: Row, disk: Row, turn: Turn) -> Outcome:
    """A lock is cleared as every attachment ends: by a completed snapshot. Not from a reservation that lives."""
    if disk.status == Status.AVAILABLE and (disk.data_lost or source_problem(disk, turn.view.newest(disk))):
        return _take_what_there_is(row, disk, turn)
    if disk.status != Status.ATTACHED:
        return completed(row, turn, f"nobody holds it: it is {disk.status}", disk.disk_id)
    holder = turn.view.holders.get(disk.reservation_id) if disk.reservation_id else None
    if holder is not None and holder not in reservation.FINAL:
        return failed(row, f"reservation {disk.reservation_id} is {holder}: cancel it", turn.view)
    if disk.release_asked_at is not None:
        return Advance((begun(row, disk.disk_id),), (_look_soon(row), disk_ticket(disk.disk_id)))
    return release(disk, "shutdown", turn.now) + Advance((begun(row, disk.disk_id),))


def _take_what_there_is(row: Row, disk: Row, turn: Turn) -> Outcome:
    """Somebody knows that data are lost, and goes on: from the newest snapshot that is left, or from nothing."""
    newest = turn.view.newest(disk)
    values = {"data_lost": None, "next_snapshot_id": None, "last_snapshot_at": newest.completed_at if newest else None}
    detail = f"it goes on as of {newest.completed_at:%Y-%m-%d %H:%M}" if newest else "it goes on empty"
    return Advance((Move(disk, None, values=values),)) + completed(row, turn, detail, disk.disk_id)


def _of_disk(step: Callable[[Row, Row, Turn], Outcome]) -> Callable[[Row, Turn], Outcome]:
    """A step of operations on a disk that has to be there."""

    def found(row: Row, turn: Turn) -> Outcome:
        disk = find(row, turn)
        return disk if isinstance(disk, (Wait, Reject)) else step(row, disk, turn)

    return found


ACTIONS: dict[str, Callable[[Row, Turn], Outcome]] = {
    "create_disk": _create,
    "snapshot_disk": _of_disk(_snapshot),
    "delete_disk": _of_disk(_delete),
    "undelete_disk": _of_disk(_undelete),
    "clone_disk": _clone,
    "restore_disk": _of_disk(_restore),
    "clear_disk_lock": _of_disk(_clear_lock),
}
