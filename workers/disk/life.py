"""A disk's beginning, and its end 30 days after it was deleted."""

from pgfleet.schema.disk import LIVE_SNAPSHOT, UNFINISHED, SnapshotStatus, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.disk.operation import gone_at
from pgfleet.workers.disk.snapshot import let_go
from pgfleet.workers.disk.tools import Turn, proceed_all, snapshot_poll
from pgfleet.workers.handover import hand_out_disk
from pgfleet.workers.runtime.outcomes import Move, Outcome, wait
from pgfleet.workers.runtime.tickets import withdraw

# How many snapshots of a disk one step lets go.
PURGED_AT_ONCE = 100


def begin(row: Row, turn: Turn) -> Outcome:
    """Creating -> available | failed: an empty disk at once, a clone when its snapshot is completed."""
    mine = [snapshot for snapshot in turn.view.snapshots_of(row) if snapshot.disk_id == row.disk_id]
    if any(snapshot.status in UNFINISHED for snapshot in mine):
        done = max(snapshot.progress_percent or 0 for snapshot in mine)
        return wait(row, f"Being copied: {done} % done", snapshot_poll(turn))
    then = proceed_all(row.disk_id, turn.view)
    if mine and not any(snapshot.status == SnapshotStatus.COMPLETED for snapshot in mine):
        reason = next(
            (snapshot.failure_reason for snapshot in mine if snapshot.failure_reason), "it could not be copied"
        )
        values = {"disk_name": purged_name(row), "detail": reason}
        return withdraw(Move(row, Status.FAILED, reason, values), *then)
    return withdraw(Move(row, Status.AVAILABLE, "ready", {"detail": None}), *then)


def purged_name(row: Row) -> str:
    """A name that nobody can ask for: its own is free for another disk."""
    return f"{row.disk_name}#{str(row.disk_id)[:8]}"


def deleted(row: Row, turn: Turn) -> Outcome:
    """Deleted -> purged, when its time is over and AWS has none of its snapshots left."""
    ends = gone_at(row, turn)
    if turn.now < ends:
        return wait(row, f"It can be brought back until {ends:%Y-%m-%d}", ends)
    mine = [snapshot for snapshot in turn.view.snapshots_of(row) if snapshot.disk_id == row.disk_id]
    completed = [snapshot for snapshot in mine if snapshot.status == SnapshotStatus.COMPLETED]
    idle = [snapshot for snapshot in completed if snapshot.ebs_snapshot_id not in turn.view.copying]
    if idle:
        # Each sends the disk a ticket when it is gone; its own looks again in any case.
        mine_too = hand_out_disk(Move(row, None, values={"detail": "Being purged"}), turn.later(60))
        return sum((let_go(snapshot, "its disk is purged") for snapshot in idle[:PURGED_AT_ONCE]), mine_too)
    if completed or any(snapshot.status in LIVE_SNAPSHOT for snapshot in mine):
        refused = next((snapshot.failure_reason for snapshot in mine if snapshot.failure_reason), None)
        return wait(row, f"Being purged: {refused or 'AWS deletes its snapshots'}", turn.later(60))
    if row.ebs_volume_id is not None:
        return wait(row, f"Can't be purged: its volume {row.ebs_volume_id} is still there", turn.later(3600))
    values = {"disk_name": purged_name(row), "detail": None}
    return withdraw(Move(row, Status.PURGED, "its 30 days are over", values))
