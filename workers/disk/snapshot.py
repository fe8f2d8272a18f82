"""A snapshot's life at AWS: asked for, watched until it is whole, and deleted when it may go.

pending --> creating --> completed --> deleting --> deleted
   |           |
   +-----------+--> failed
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog

from pgfleet.schema.disk import SnapshotStatus, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.aws.ec2 import DISK, SNAPSHOT
from pgfleet.workers.clients.aws.session import VolumeGoneError
from pgfleet.workers.clients.aws.states import SnapshotState
from pgfleet.workers.disk.tools import Turn, hand_out_snapshot, proceed_all, snapshot_poll, volume_poll
from pgfleet.workers.disk.view import View, id_of
from pgfleet.workers.disk.volume import LOST_AFTER, choose, still_attached, volume_name
from pgfleet.workers.handover import disk_ticket
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Done,
    Move,
    Outcome,
    RefusedError,
    Send,
    TryAgainError,
    Wait,
    wait,
)
from pgfleet.workers.runtime.tickets import withdraw

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# What AWS does not know is given up, or said to be lost, only after so long.
MISSING_FOR = timedelta(minutes=5)


def begin(row: Row, turn: Turn) -> Outcome:
    """Pending -> creating. CreateSnapshot knows no token: what an earlier attempt has made is found by its tag."""
    cloud = turn.tools.ec2
    if row.ebs_snapshot_id is not None:
        known = cloud.snapshot(row.ebs_snapshot_id)
        return failed(row, "AWS has lost it again", turn.view) if known is None else _begun(row, known, turn)
    made = [found for found in cloud.snapshots_tagged(SNAPSHOT, str(row.snapshot_id)) if found.state != "error"]
    if made:
        first, *twice = made
        return _begun(row, first, turn, tuple(suspect(other) for other in twice))
    disk = turn.view.disks.get(str(row.disk_id))
    waits = None if row.copied_from or disk is None else _not_detached(row, disk, turn)
    if disk is not None and waits:
        return wait(disk, waits, volume_poll(turn))
    tags = {DISK: str(row.disk_id), SNAPSHOT: str(row.snapshot_id), "Name": _name(row, turn)}
    turn.hold()
    if row.copied_from:
        return _begun(row, cloud.copy_snapshot(row.copied_from, tags, tags["Name"]), turn)
    return _begun(row, cloud.create_snapshot(row.ebs_volume_id, tags, tags["Name"]), turn)


def _not_detached(row: Row, disk: Row, turn: Turn) -> str | None:
    """The snapshot of a release is taken when the volume is detached: by then all that the pod wrote is on it."""
    if disk.release_snapshot_id != row.snapshot_id:
        return None
    volume = turn.tools.ec2.volume(row.ebs_volume_id)
    if volume is None:
        raise VolumeGoneError(f"AWS has no volume {row.ebs_volume_id}")
    return still_attached(volume) if volume.attached_to else None


def _name(row: Row, turn: Turn) -> str:
    disk = turn.view.disks.get(str(row.disk_id))
    return volume_name(disk) if disk else "pgfleet"


def _begun(row: Row, made: SnapshotState, turn: Turn, then: tuple[Send, ...] = ()) -> Outcome:
    values = {
        "ebs_snapshot_id": made.ebs_snapshot_id,
        "progress_percent": made.progress_percent or 0,
        "size_gb": made.size_gb or row.size_gb,
    }
    at = None if made.state == "completed" else volume_poll(turn)
    move = Move(row, SnapshotStatus.CREATING, f"AWS makes {made.ebs_snapshot_id}", values)
    return hand_out_snapshot(move, at) + Advance(then=then)


def watch(row: Row, turn: Turn) -> Outcome:
    """Creating -> completed | failed. It may take hours, and an outage meanwhile says nothing about it."""
    found = turn.tools.ec2.snapshot(row.ebs_snapshot_id)
    if found is None:
        return _missing(row, turn)
    if found.state == "completed":
        return _completed(row, found, turn)
    if found.state == "error":
        return failed(row, found.message or "AWS says error, and nothing more", turn.view)
    values: dict[str, Any] = {"missing_since": None} if row.missing_since else {}
    if found.progress_percent is not None and found.progress_percent != row.progress_percent:
        values["progress_percent"] = found.progress_percent
    return Wait("AWS makes it", snapshot_poll(turn), (Move(row, None, values=values),) if values else ())


def _missing(row: Row, turn: Turn) -> Outcome:
    if row.missing_since is None:
        move = Move(row, None, values={"missing_since": turn.now})
        return Wait("AWS does not know it yet", snapshot_poll(turn), (move,))
    if turn.waited(row.missing_since) < MISSING_FOR:
        return Wait("AWS does not know it yet", snapshot_poll(turn))
    return failed(row, f"AWS has no snapshot {row.ebs_snapshot_id}", turn.view)


def _completed(row: Row, found: SnapshotState, turn: Turn) -> Outcome:
    values = {
        # One that AWS had lost is as old as it was.
        "completed_at": row.completed_at or turn.now,
        "progress_percent": 100,
        "size_gb": found.size_gb or row.size_gb,
        "missing_since": None,
    }
    move = Move(row, SnapshotStatus.COMPLETED, "AWS says that it is whole", values)
    whole = hand_out_snapshot(move) if row.contents is not None else withdraw(move)
    return whole + Advance(then=_wake_others(row, turn.view))


def failed(row: Row, reason: str, view: View) -> Outcome:
    values = {"failure_reason": reason[:1000], "contents": None}
    return withdraw(Move(row, SnapshotStatus.FAILED, reason[:1000], values), *_wake_others(row, view))


def _wake_others(row: Row, view: View) -> tuple[Send, ...]:
    """Messages for whatever may wait for it: its disk, the disk whose volume it is taken of, and operations."""
    others = [disk.disk_id for disk in view.disks.values() if disk.ebs_volume_id == row.ebs_volume_id]
    waiting = dict.fromkeys([row.disk_id, *(others if row.ebs_volume_id else ())])
    return (*(disk_ticket(disk_id) for disk_id in waiting), *proceed_all(row.disk_id, view))


def kept(row: Row, turn: Turn) -> Outcome:
    """Completed: its listing is written, and where AWS seemed to have lost it, it is looked for."""
    if row.contents is not None:
        return _write_listing(row, turn)
    if turn.tools.ec2.snapshot(row.ebs_snapshot_id) is not None:
        return Done("AWS has it") if row.missing_since is None else _shown(row, {"missing_since": None})
    if row.missing_since is None:
        return _shown(row, {"missing_since": turn.now})
    if turn.waited(row.missing_since) < LOST_AFTER:
        return Done("AWS does not know it")
    log.error("snapshot.lost", snapshot=str(row.snapshot_id), ebs_snapshot=row.ebs_snapshot_id)
    values = {"lost_at": turn.now, "failure_reason": "AWS has lost it"}
    return hand_out_snapshot(Move(row, SnapshotStatus.DELETING, "AWS no longer has it", values))


def _shown(row: Row, values: dict[str, Any]) -> Outcome:
    return Advance((Move(row, None, values=values),))


def _write_listing(row: Row, turn: Turn) -> Outcome:
    """To S3, where there is a bucket for it; its key comes from the snapshot's id."""
    url = None
    if turn.tools.contents is not None:
        turn.hold()
        try:
            url = turn.tools.contents.put(f"disks/{row.disk_id}/{row.snapshot_id}.txt", row.contents)
        except RefusedError as refused:
            # The snapshot is what counts; a listing that S3 does not want is gone.
            log.warning("snapshot.unlisted", snapshot=str(row.snapshot_id), reason=str(refused))
    disk = turn.view.disks.get(str(row.disk_id))
    written = withdraw(Move(row, None, values={"contents": None, "content_s3": url}))
    if disk is not None and url is not None:
        written += Advance((Move(disk, None, values={"latest_snapshot_content_s3": url}),))
    return written


def remove(row: Row, turn: Turn) -> Outcome:
    """Deleting -> deleted, when AWS no longer has it."""
    if row.lost_at is not None:
        return _lost(row, turn)
    if row.content_s3 and turn.tools.contents is not None:
        turn.hold()
        try:
            turn.tools.contents.delete(row.content_s3)
        except RefusedError as refused:
            log.warning("snapshot.listing_kept", snapshot=str(row.snapshot_id), reason=str(refused))
    if turn.tools.ec2.snapshot(row.ebs_snapshot_id) is None:
        values = {"deleted_at": turn.now, "failure_reason": None, "content_s3": None}
        return Advance(
            (Move(row, SnapshotStatus.DELETED, "AWS no longer has it", values),), _wake_others(row, turn.view)
        )
    turn.hold()
    try:
        turn.tools.ec2.delete_snapshot(row.ebs_snapshot_id)
    except TryAgainError as refused:
        if refused.after_s is None:
            raise
        return wait(row, str(refused), turn.later(refused.after_s))
    return Wait("AWS deletes it", volume_poll(turn))


def _lost(row: Row, turn: Turn) -> Outcome:
    """What AWS had lost is not deleted, even if it is there again: the next comparison makes that a row of its own."""
    there = turn.tools.ec2.snapshot(row.ebs_snapshot_id) is not None
    reason = "AWS has it again: for a person to look at" if there else "AWS no longer has it"
    changes = [Move(row, SnapshotStatus.DELETED, reason, {"deleted_at": turn.now})]
    disk = turn.view.disks.get(str(row.disk_id))
    newest = turn.view.newest(disk) if disk else None
    if disk is not None and disk.status != Status.ATTACHED and _newer(row, newest):
        gone = f"its newest snapshot, of {row.completed_at:%Y-%m-%d %H:%M}, is gone from AWS"
        changes.append(Move(disk, None, values={"data_lost": f"{gone}; {choose(disk)}"}))
    return Advance(tuple(changes), _wake_others(row, turn.view))


def _newer(row: Row, newest: Row | None) -> bool:
    return newest is None or (newest.completed_at is not None and row.completed_at > newest.completed_at)


def prune(row: Row, turn: Turn) -> Outcome:
    """Completed -> deleting, if retention still lets it go. The database refuses to give up a disk's last one."""
    if str(row.snapshot_id) not in turn.view.prunable:
        return Done("it is kept")
    disk = turn.view.disks.get(str(row.disk_id))
    newest = turn.view.newest(disk) if disk else None
    there = turn.tools.ec2.snapshot(newest.ebs_snapshot_id) if newest else None
    if there is None or there.state != "completed":
        return Done("it is kept: AWS does not show the disk's newest one")
    return let_go(row, "old, and not among the newest of its disk")


def let_go(row: Row, reason: str) -> Advance:
    return hand_out_snapshot(Move(row, SnapshotStatus.DELETING, reason))


def suspect(found: SnapshotState) -> Send:
    return suspected(found.ebs_snapshot_id, found.tags)


def suspected(resource_id: str, tags: Mapping[str, str]) -> Send:
    """With the ids of the rows that it says it is of, so that they are loaded."""
    ids = {name: id_of(tags.get(tag)) for name, tag in (("disk_id", DISK), ("snapshot_id", SNAPSHOT))}
    known = {name: str(row_id) for name, row_id in ids.items() if row_id is not None}
    return Send({"action": "suspect", "resource_id": resource_id, **known})
