"""Where reservations and disks meet: the tickets that each sends to the other, and how a release is asked for."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from pgfleet.schema import reservation
from pgfleet.schema.disk import NUDGE, QUEUE, SnapshotStatus
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables import disk_snapshots
from pgfleet.workers.runtime.outcomes import Advance, Move, New, Send


def disk_ticket(disk_id: Any, number: int = NUDGE, at: datetime | None = None) -> Send:
    return Send({"action": "advance_disk", "disk_id": str(disk_id), "ticket": number}, at, QUEUE)


def snapshot_ticket(snapshot_id: Any, number: int = NUDGE, at: datetime | None = None) -> Send:
    return Send({"action": "advance_snapshot", "snapshot_id": str(snapshot_id), "ticket": number}, at, QUEUE)


def next_turn(row: Row, at: datetime | None = None) -> Send:
    """The disk's ticket that follows its present one; the move that sends it writes `ticket + 1`."""
    return disk_ticket(row.disk_id, row.ticket + 1, at)


def reservation_nudge(reservation_id: str) -> Send:
    """An ended reservation may be over now: it has waited for its disk."""
    body = {"action": "advance", "reservation_id": reservation_id, "ticket": -1}
    return Send(body, queue=reservation.QUEUE)


def release(row: Row, kind: str, now: datetime) -> Advance:
    """What asks for the release of an attached disk: the snapshot that it waits for, and the disk's next turn."""
    asked = {"release_asked_at": row.release_asked_at or now, "ticket": row.ticket + 1}
    if row.ebs_volume_id is None or row.volume_is_new or row.volume_lost_at is not None:
        shown = {**asked, "detail": "Being released"}
        return Advance((Move(row, None, values=shown),), (next_turn(row),))
    snapshot_id = uuid4()
    snapshot = {
        "snapshot_id": snapshot_id,
        "disk_id": row.disk_id,
        "kind": kind,
        "reservation_id": row.reservation_id,
        "ebs_volume_id": row.ebs_volume_id,
        "size_gb": row.size_gb,
        "contents": row.contents,
        "created_at": now,
        "ticket": 1,
    }
    shown = {**asked, "release_snapshot_id": snapshot_id, "contents": None, "detail": "Its snapshot is 0 % done"}
    changes = (Move(row, None, values=shown), New(disk_snapshots, SnapshotStatus.PENDING, "release", snapshot))
    return Advance(changes, (snapshot_ticket(snapshot_id, 1), next_turn(row)))
