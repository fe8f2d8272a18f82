"""Where reservations and disks meet: the tickets that each sends to the other, and how a release is asked for."""

from datetime import datetime
from functools import partial
from uuid import uuid4

from pgfleet.schema import disk, reservation
from pgfleet.schema.disk import SnapshotStatus
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.disks import disk_snapshots
from pgfleet.workers.runtime import tickets
from pgfleet.workers.runtime.outcomes import Advance, Move, New

reservation_ticket = partial(tickets.ticket, reservation.TICKETS)
disk_ticket = partial(tickets.ticket, disk.TICKETS)
snapshot_ticket = partial(tickets.ticket, disk.SNAPSHOT_TICKETS)
# A change of a disk, with its next ticket.
hand_out_disk = partial(tickets.hand_out, disk.TICKETS)


def release_when_detached(row: Row, now: datetime) -> Advance:
    """What asks for the release of a disk whose volume may still be written to.

    Its snapshot is made when AWS says that the volume is attached to nothing; until then it stays as it is.
    """
    values = {"release_asked_at": row.release_asked_at or now, "detail": "Waits until its volume is detached"}
    return hand_out_disk(Move(row, None, values=values))


def release(row: Row, kind: str, now: datetime) -> Advance:
    """What asks for the release of an attached disk: the snapshot that it waits for, and the disk's next ticket."""
    asked = {"release_asked_at": row.release_asked_at or now}
    if row.ebs_volume_id is None or row.volume_is_new or row.volume_lost_at is not None:
        return hand_out_disk(Move(row, None, values={**asked, "detail": "Being released"}))
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
    made = New(disk_snapshots, SnapshotStatus.PENDING, "release", snapshot)
    first = Advance(then=(snapshot_ticket(snapshot_id, 1),))
    return first + hand_out_disk(Move(row, None, values=shown)) + Advance((made,))
