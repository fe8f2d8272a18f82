"""A disk's volume: made for a reservation, and deleted when all that it held is in a completed snapshot.

    attached -> zone (the reservation worker) -> volume made -> ready -> a pod has it -> release asked -> snapshot
    completed -> volume deleted -> seen gone -> available

A volume that a pod may have written to is deleted only when the snapshot of its release is completed, in its row and,
asked once more, at AWS. One that no row knows is none of these steps' business.
"""

from collections.abc import Mapping
from datetime import timedelta

import structlog

from pgfleet.schema.disk import DEFAULT_SIZE_GB, UNFINISHED, ZONE_FULL, SnapshotStatus, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.aws.ec2 import ATTACHMENT, DISK, USED
from pgfleet.workers.clients.aws.session import SnapshotGoneError, TokenTakenError, ZoneFullError
from pgfleet.workers.clients.aws.states import VolumeState
from pgfleet.workers.disk.tools import Turn, proceed_all, snapshot_poll, volume_poll
from pgfleet.workers.handover import hand_out_disk, release, reservation_ticket
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, NoPlaceError, Outcome, TryAgainError, Wait, wait
from pgfleet.workers.runtime.tickets import withdraw

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# AWS may not know for a moment what it has just made; and nobody is helped by a loss that is believed too soon.
APPEARS_WITHIN = timedelta(minutes=5)
LOST_AFTER = timedelta(hours=1)
# A snapshot that failed is tried again, each time after half as long as the release has lasted, within these.
SNAPSHOT_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0


def attached(row: Row, turn: Turn) -> Outcome:
    """Attached -> available, by way of a volume."""
    if row.release_asked_at is not None:
        return _release(row, turn)
    if row.ebs_volume_id is None:
        return _make(row, turn)
    if row.volume_is_new or row.ebs_availability_zone is None or row.size_gb is None:
        return _ready(row, turn)
    return _look_after(row, turn)


def _make(row: Row, turn: Turn) -> Outcome:
    """The token is that of the attachment: however often it is asked for, it is one volume."""
    if row.attach_error:
        return wait(row, row.attach_error, turn.later(60))
    if row.ebs_availability_zone is None:
        return wait(row, "Waits to be told a zone", turn.later(60))
    source = turn.view.snapshots.get(str(row.source_snapshot_id)) if row.source_snapshot_id else None
    problem = row.data_lost or source_problem(row, source)
    if problem:
        return Advance((Move(row, None, values={"attach_error": problem, "detail": problem}),))
    size_gb = max(row.size_gb or DEFAULT_SIZE_GB, (source.size_gb or 0) if source else 0)
    tags = {DISK: str(row.disk_id), ATTACHMENT: str(row.attachment), "Name": volume_name(row)}
    ebs_snapshot, zone = source.ebs_snapshot_id if source else None, row.ebs_availability_zone
    turn.hold()
    try:
        volume = turn.tools.ec2.create_volume(f"{row.disk_id}-{row.attachment}", zone, size_gb, ebs_snapshot, tags)
    except ZoneFullError as full:
        return _no_room(row, f"{ZONE_FULL}: {full}")
    except NoPlaceError as full:
        return _no_room(row, full.shown)
    except SnapshotGoneError as unseen:
        # What was completed a moment ago is not known to all of AWS at once.
        if turn.waited(row.status_since) > APPEARS_WITHIN:
            raise
        return wait(row, str(unseen), volume_poll(turn))
    except TokenTakenError:
        return _another_token(row, tags, turn)
    return _made(row, volume, size_gb, turn)


def _no_room(row: Row, reason: str) -> Outcome:
    """Its reservation goes back to the line for a while, and then asks for another zone."""
    return Advance((Move(row, None, values={"attach_error": reason, "detail": reason}),))


def _another_token(row: Row, tags: Mapping[str, str], turn: Turn) -> Outcome:
    """The token was used for a volume of another size, say: it is taken if it is there, or else asked for anew."""
    found = turn.tools.ec2.volumes_tagged({name: tags[name] for name in (DISK, ATTACHMENT)})
    if found:
        return _made(row, found[0], found[0].size_gb, turn)
    again = {"attachment": row.attachment + 1, "detail": "AWS knows the token of its volume as another's: once more"}
    return hand_out_disk(Move(row, None, values=again), volume_poll(turn))


def _made(row: Row, volume: VolumeState, size_gb: int, turn: Turn) -> Outcome:
    values = {
        "ebs_volume_id": volume.volume_id,
        "volume_is_new": True,
        "size_gb": size_gb,
        "detail": "Its volume is being made",
    }
    return hand_out_disk(Move(row, None, values=values), None if volume.state == "available" else volume_poll(turn))


def volume_name(disk: Row) -> str:
    """For people who look at AWS, within what a tag may hold."""
    return f"pgfleet {disk.user_id} {disk.disk_name}"[:250]


def source_problem(row: Row, source: Row | None) -> str | None:
    """Why a volume made from this would not hold what the disk has held: nobody gets an empty home instead."""
    look = f"see `pgfleet disk show {row.disk_name}`"
    if source is None:
        known = row.source_snapshot_id is not None or row.last_snapshot_at is not None or row.snapshot_count
        return f"it has been used, and no snapshot of it is there; {look}" if known else None
    if source.status != SnapshotStatus.COMPLETED or source.ebs_snapshot_id is None:
        return f"its snapshot {source.snapshot_id} is not at AWS; {look}"
    return None


def _ready(row: Row, turn: Turn) -> Outcome:
    """From here on a pod may have it; its tag at AWS says so. If AWS could not make it, another one is asked for."""
    volume = turn.tools.ec2.volume(row.ebs_volume_id)
    if volume is not None and volume.state in ("available", "in-use"):
        turn.hold()
        turn.tools.ec2.tag(volume.volume_id, {USED: "true"})
        known = {"ebs_availability_zone": volume.zone, "size_gb": row.size_gb or volume.size_gb}
        values = {**known, "volume_is_new": False, "volumes_failed": 0, "volume_missing_since": None, "detail": None}
        return Advance((Move(row, None, values=values),))
    if volume is not None and volume.state == "creating":
        return wait(row, "Its volume is being made", volume_poll(turn))
    if not row.volume_is_new:
        return _look_after(row, turn)
    if volume is None and not _missing_for(APPEARS_WITHIN, row, turn):
        return _missing(row, turn)
    if volume is not None:
        turn.hold()
        turn.tools.ec2.delete_volume(volume.volume_id)
    log.warning("disk.volume_failed", disk=str(row.disk_id), volume=row.ebs_volume_id)
    again = {
        "ebs_volume_id": None,
        "volume_is_new": False,
        "volume_missing_since": None,
        "attachment": row.attachment + 1,
        "volumes_failed": row.volumes_failed + 1,
        "detail": "AWS could not make its volume: once more",
    }
    return hand_out_disk(Move(row, None, values=again), volume_poll(turn))


def _look_after(row: Row, turn: Turn) -> Outcome:
    """In use. Looked at only where it seemed to be gone."""
    volume = turn.tools.ec2.volume(row.ebs_volume_id)
    if volume is None:
        return _gone(row, turn)
    if row.volume_missing_since is not None:
        return Advance((Move(row, None, values={**FOUND, "detail": None}),))
    return Done("in use")


# What is written when AWS has a volume that it seemed to have lost.
FOUND = {"volume_missing_since": None, "volume_lost_at": None}


def _missing(row: Row, turn: Turn) -> Outcome:
    missing = {} if row.volume_missing_since else {"volume_missing_since": turn.now}
    return wait(row, f"AWS does not know volume {row.ebs_volume_id}", volume_poll(turn), **missing)


def _missing_for(patience: timedelta, row: Row, turn: Turn) -> bool:
    return row.volume_missing_since is not None and turn.waited(row.volume_missing_since) > patience


def _gone(row: Row, turn: Turn) -> Outcome:
    """A volume that was used, and of which AWS says that there is none: for good when it has said so for long."""
    zone, region = row.ebs_availability_zone, turn.tools.ec2.region
    if zone is not None and not zone.startswith(region):
        raise TryAgainError(f"volume {row.ebs_volume_id} is in {zone}, this worker works in {region}", after_s=60)
    if not _missing_for(LOST_AFTER, row, turn):
        return _missing(row, turn)
    if row.volume_lost_at is None:
        log.error("disk.volume_lost", disk=str(row.disk_id), volume=row.ebs_volume_id)
        detail = f"VOLUME_LOST: AWS has no volume {row.ebs_volume_id}; its last completed snapshot is what there is"
        move = Move(row, None, values={"volume_lost_at": turn.now, "detail": detail})
        return hand_out_disk(move) if row.release_asked_at else withdraw(move)
    return Done("its volume is lost")


def _release(row: Row, turn: Turn) -> Outcome:
    """The end of an attachment: what there is to keep is kept first."""
    if row.ebs_volume_id is None:
        # What may have been made at AWS all the same was never in a row, so no pod has had it: reconciling removes it.
        return _available(row, turn, "it never had a volume")
    if row.volume_lost_at is not None:
        return _lost(row, turn)
    if row.volume_is_new:
        return _delete(row, turn, "no pod has had its volume")
    snapshot = turn.view.snapshots.get(str(row.release_snapshot_id))
    unfinished = [other for other in turn.view.snapshots_of(row) if other.status in UNFINISHED]
    if all(other.status == SnapshotStatus.PENDING for other in unfinished) and unfinished:
        return Wait("its snapshot is about to be made", snapshot_poll(turn))
    if unfinished:
        return wait(row, _progress(unfinished), snapshot_poll(turn))
    if snapshot is None or snapshot.status != SnapshotStatus.COMPLETED:
        return _snapshot_again(row, snapshot, turn)
    kept = turn.tools.ec2.snapshot(snapshot.ebs_snapshot_id)
    if kept is None or kept.state != "completed" or kept.volume_id != row.ebs_volume_id:
        # What the row says is not enough to delete the only other copy.
        return _snapshot_again(row, None, turn)
    return _delete(row, turn, "its snapshot is completed")


def _lost(row: Row, turn: Turn) -> Outcome:
    """Believed only after one more look; whoever asks for the disk next is shown it."""
    if turn.tools.ec2.volume(row.ebs_volume_id) is not None:
        return hand_out_disk(Move(row, None, values=FOUND))
    return _available(row, turn, f"VOLUME_LOST: AWS has lost volume {row.ebs_volume_id}")


def _progress(unfinished: list[Row]) -> str:
    least = min(snapshot.progress_percent or 0 for snapshot in unfinished)
    return f"Its snapshot is {least} % done"


def _snapshot_again(row: Row, failed: Row | None, turn: Turn) -> Outcome:
    """Until there is one, the volume stays."""
    volume = turn.tools.ec2.volume(row.ebs_volume_id)
    if volume is None:
        return _gone(row, turn)
    if row.volume_missing_since is not None:
        return hand_out_disk(Move(row, None, values=FOUND))
    if failed is None and volume.attached_to:
        # Whoever has it may write to it, and no snapshot would have that.
        return wait(row, still_attached(volume), volume_poll(turn))
    pause_ends = failed.status_since + _pause(failed.status_since - row.release_asked_at) if failed else turn.now
    if turn.now < pause_ends:
        return wait(row, f"Its snapshot failed, and is tried again: {failed and failed.failure_reason}", pause_ends)
    return release(row, failed.kind if failed else "shutdown", turn.now)


def _pause(lasted: timedelta) -> timedelta:
    return timedelta(seconds=min(max(SNAPSHOT_PAUSE_S, lasted.total_seconds() / 2), LONGEST_PAUSE_S))


def _delete(row: Row, turn: Turn, why: str) -> Outcome:
    volume = turn.tools.ec2.volume(row.ebs_volume_id)
    if volume is None:
        return _available(row, turn, why)
    if row.volume_is_new and USED in volume.tags:
        # The row is older than the volume: a database that was restored.
        return hand_out_disk(Move(row, None, values={"volume_is_new": False}))
    seen = {"volume_missing_since": None} if row.volume_missing_since else {}
    if volume.attached_to:
        return wait(row, still_attached(volume), volume_poll(turn), **seen)
    if volume.state != "deleting":
        turn.hold()
        turn.tools.ec2.delete_volume(volume.volume_id)
    return wait(row, "Its volume is being deleted", volume_poll(turn), **seen)


def still_attached(volume: VolumeState) -> str:
    return f"Its volume is still attached to {', '.join(volume.attached_to)}"


def _available(row: Row, turn: Turn, why: str) -> Outcome:
    kept = row.release_snapshot_id is not None and row.volume_lost_at is None
    lost = f"{why}; {choose(row)}"
    values = {
        **FREE,
        "data_lost": lost if row.volume_lost_at is not None else None if kept else row.data_lost,
        "last_used": turn.now,
        # What was restored has been used: from now on the newest snapshot is what the disk holds.
        "next_snapshot_id": None if kept else row.next_snapshot_id,
    }
    # The reservation may be over now: it has waited for its disk.
    nudges = (reservation_ticket(row.reservation_id),) if row.reservation_id else ()
    return withdraw(Move(row, Status.AVAILABLE, why, values), *nudges, *proceed_all(row.disk_id, turn.view))


def choose(disk: Row) -> str:
    """What a person does about data that are lost."""
    return (
        f"choose what to go on with: pgfleet disk restore {disk.disk_name} SNAPSHOT,"
        f" or take what there is: pgfleet disk unlock {disk.disk_name}"
    )


# What an attachment has left in the row.
FREE = {
    "reservation_id": None,
    "ebs_volume_id": None,
    "ebs_availability_zone": None,
    "volume_is_new": False,
    "volume_missing_since": None,
    "volume_lost_at": None,
    "release_asked_at": None,
    "release_snapshot_id": None,
    "source_snapshot_id": None,
    "attach_error": None,
    "volumes_failed": 0,
    "contents": None,
    "contents_at": None,
    "detail": None,
}
