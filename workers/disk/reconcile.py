"""Rows compared with all that AWS has under our tags.

AWS is right about what exists, and a listing that failed proves nothing. The comparison itself decides nothing: it only
sends whatever does not agree to be looked at closely, by id. What no row accounts for goes into quarantine; only a
volume that never was in a row, so that no pod has had it, and a snapshot that AWS could not make, are deleted.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog

from pgfleet.schema.disk import SnapshotStatus, Status, Suspect
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.disks import disk_quarantine, disk_snapshots
from pgfleet.workers.clients.aws.ec2 import ATTACHMENT, DISK, QUARANTINED, SNAPSHOT, USED
from pgfleet.workers.clients.aws.states import SnapshotState, VolumeState
from pgfleet.workers.disk.snapshot import suspect, suspected
from pgfleet.workers.disk.tools import Turn
from pgfleet.workers.disk.view import Claim, id_of
from pgfleet.workers.handover import disk_ticket, snapshot_ticket
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, New, Outcome, RefusedError, Send, TryAgainError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# What is younger may belong to a worker that has not committed yet.
GRACE = timedelta(minutes=10)
# When as many as this, and so large a share, are missing, the listing is wrong.
FEW = 3
MASS_LOSS_SHARE = 0.55
# How many messages one comparison sends; the rest is found by the next one.
SUSPECTS_LIMIT = 1000


def reconcile(turn: Turn) -> Done:
    """Listings are read to their end before anything is said of what is missing; an error in one ends it all."""
    known, now = turn.view.known, turn.now
    sends: list[Send] = []
    volumes, snapshots = set(), set()
    for volume in turn.tools.ec2.volumes():
        volumes.add(volume.volume_id)
        if volume.volume_id not in known.volumes and volume.age > GRACE:
            sends.append(suspected(volume.volume_id, volume.tags))
    for snapshot in turn.tools.ec2.snapshots():
        snapshots.add(snapshot.ebs_snapshot_id)
        if snapshot.ebs_snapshot_id not in known.snapshots and snapshot.age > GRACE:
            sends.append(suspect(snapshot))
    seen = volumes | snapshots
    unexplained = [send for send in sends if send.body["resource_id"] not in known.quarantined]
    unseen = [*_unseen(known.volumes, volumes, now)], [*_unseen(known.snapshots, snapshots, now)]
    lost, all_known = len(unseen[0]) + len(unseen[1]), len(known.volumes) + len(known.snapshots)
    log.info("disks.reconciled", volumes=len(volumes), snapshots=len(snapshots), missing=lost, unknown=len(unexplained))
    if _too_many(lost, all_known, shown=len(seen & (known.volumes.keys() | known.snapshots.keys()))):
        log.error("disks.held_back", missing=lost, known=all_known, region=turn.tools.ec2.region)
        return Done("so much can't be gone: is this the right account and region?", tuple(unexplained[:SUSPECTS_LIMIT]))
    gone = [Send({"action": "suspect", "resource_id": resource}) for resource in sorted(known.quarantined - seen)]
    missing = (
        *(disk_ticket(row_id) for row_id in dict.fromkeys([*unseen[0], *_doubted(known.volumes)])),
        *(snapshot_ticket(row_id) for row_id in dict.fromkeys([*unseen[1], *_doubted(known.snapshots)])),
    )
    return Done("compared with AWS", (*missing, *gone, *unexplained)[:SUSPECTS_LIMIT])


def _too_many(lost: int, known: int, *, shown: int) -> bool:
    """Credentials of another account, or another region, see nothing of ours; that says nothing about it."""
    return lost > 0 and (shown == 0 or (lost >= FEW and lost > MASS_LOSS_SHARE * known))


def _doubted(known: Mapping[str, Claim]) -> list[UUID]:
    """Missing before, and maybe there now: two looks count only if none between saw it."""
    return [claim.row_id for claim in known.values() if claim.doubted]


def _unseen(known: Mapping[str, Claim], seen: set[str], now: datetime) -> Iterable[UUID]:
    return (claim.row_id for resource, claim in known.items() if resource not in seen and now - claim.since > GRACE)


def look(message: Suspect, turn: Turn) -> Outcome:
    """One thing that AWS has, or had, and that no row seemed to account for.

    It is of the rows that its tags name: where the message has named others, it is sent again with these.
    """
    is_volume = message.resource_id.startswith("vol-")
    found = (turn.tools.ec2.volume if is_volume else turn.tools.ec2.snapshot)(message.resource_id)
    if found is None:
        return _gone(message, turn)
    if not turn.tools.ec2.is_ours(found):
        return Done("it is another fleet's")
    named = suspected(message.resource_id, found.tags)
    if dict(named.body) != message.model_dump(exclude_none=True):
        return Done("it is of other rows", (named,))
    return _volume(found, turn) if isinstance(found, VolumeState) else _snapshot(found, turn)


def _gone(message: Suspect, turn: Turn) -> Outcome:
    row = turn.view.by_resource.get(("quarantine", message.resource_id))
    if row is None or row.gone_at is not None:
        return Done("AWS does not have it")
    return Advance((Move(row, None, values={"gone_at": turn.now}),))


def _volume(volume: VolumeState, turn: Turn) -> Outcome:
    disk = turn.view.disks.get(volume.tags.get(DISK, ""))
    if ("disk", volume.volume_id) in turn.view.by_resource:
        return Done("a disk has it")
    if ("quarantine", volume.volume_id) in turn.view.by_resource:
        return _set_aside(volume.volume_id, volume.tags, "in quarantine already", turn)
    if disk is None:
        return _set_aside(volume.volume_id, volume.tags, "no disk is known that it could belong to", turn)
    if USED in volume.tags or volume.volume_id in turn.view.recorded:
        return _set_aside(volume.volume_id, volume.tags, "a pod has had it, and no disk has it", turn)
    if volume.attached_to:
        return _set_aside(volume.volume_id, volume.tags, f"attached to {', '.join(volume.attached_to)}", turn)
    if _being_attached(disk) and volume.tags.get(ATTACHMENT) == str(disk.attachment):
        return Done("its disk is about to have it", (disk_ticket(disk.disk_id),))
    if not _ours(volume, disk):
        return _set_aside(volume.volume_id, volume.tags, "no attachment of its disk has made it", turn)
    log.warning("disk.volume_of_nobody", volume=volume.volume_id, disk=str(disk.disk_id))
    turn.hold()
    try:
        turn.tools.ec2.delete_volume(volume.volume_id)
    except RefusedError as refused:
        return _set_aside(volume.volume_id, volume.tags, f"it can't be deleted: {refused}", turn)
    return Done("no pod has had it: deleted")


def _ours(volume: VolumeState, disk: Row) -> bool:
    """Made for an attachment that the row knows of: a row of an older backup does not."""
    number = volume.tags.get(ATTACHMENT, "")
    return number.isascii() and number.isdigit() and int(number) <= disk.attachment


def _being_attached(disk: Row) -> bool:
    return disk.status == Status.ATTACHED and disk.ebs_volume_id is None and disk.release_asked_at is None


def _snapshot(found: SnapshotState, turn: Turn) -> Outcome:
    row = turn.view.by_resource.get(("snapshot", found.ebs_snapshot_id))
    if row is not None and row.status not in (SnapshotStatus.DELETED, SnapshotStatus.FAILED):
        return Done("a snapshot's row has it")
    if row is not None and found.state == "error":
        turn.hold()
        turn.tools.ec2.delete_snapshot(found.ebs_snapshot_id)
        return Done("AWS could not make it, and holds nothing in it: deleted")
    if row is not None and row.lost_at is not None:
        return _found_again(row)
    if row is not None:
        return _set_aside(found.ebs_snapshot_id, found.tags, f"its row says {row.status}", turn)
    mine = turn.view.snapshots.get(found.tags.get(SNAPSHOT, ""))
    if mine is None:
        return _set_aside(found.ebs_snapshot_id, found.tags, "no snapshot is known that it could be", turn)
    if mine.status == SnapshotStatus.PENDING:
        return Done("its row is about to have it", (snapshot_ticket(mine.snapshot_id),))
    reason = f"a duplicate: {mine.ebs_snapshot_id or 'another'} is the one that counts"
    return _set_aside(found.ebs_snapshot_id, found.tags, reason, turn)


def _found_again(row: Row) -> Outcome:
    """AWS had lost it, and has it: a row of its own, as old as it was, for whoever restores it."""
    again = uuid4()
    kept = (
        "disk_id",
        "kind",
        "ebs_snapshot_id",
        "ebs_volume_id",
        "size_gb",
        "content_s3",
        "completed_at",
        "created_at",
    )
    values = {**{name: row[name] for name in kept}, "snapshot_id": again, "ticket": 1}
    changes = (
        Move(row, None, values={"ebs_snapshot_id": None}),
        New(disk_snapshots, SnapshotStatus.PENDING, f"AWS has it again, after {row.snapshot_id}", values),
    )
    return Advance(changes, (snapshot_ticket(again, 1),))


def _set_aside(resource_id: str, tags: Mapping[str, str], reason: str, turn: Turn) -> Outcome:
    """Into quarantine: tagged there, written down here, and never deleted by us."""
    known = turn.view.by_resource.get(("quarantine", resource_id))
    if known is not None:
        back = Advance((Move(known, None, values={"gone_at": None}),))
        return Done("in quarantine already") if known.gone_at is None else back
    log.warning("disk.quarantined", resource=resource_id, reason=reason)
    turn.hold()
    try:
        turn.tools.ec2.tag(resource_id, {QUARANTINED: reason[:250]})
    except (RefusedError, TryAgainError) as untagged:
        log.warning("disk.untagged", resource=resource_id, reason=str(untagged))
    values: dict[str, Any] = {
        "resource_id": resource_id,
        "disk_id": id_of(tags.get(DISK)),
        "snapshot_id": id_of(tags.get(SNAPSHOT)),
        "reason": reason,
        "found_at": turn.now,
    }
    return Advance((New(disk_quarantine, None, reason, values),))
