"""Persistent disks: the states of disks, snapshots and operations, and the messages of the queue `disk_operations`.

The moves between the states are in `017_disk_machine.sql` and `022_disk_operations.sql`, where the database enforces
them; the steps that make them are in `workers/disk/machine.py`.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from pgfleet.schema.messages import Message, Name, Sweep, TicketNumber, Uuid, by_action, matching, read_message
from pgfleet.schema.tickets import Tickets

QUEUE = "disk_operations"
# By these a body that is refused still says what it is about.
IDS = ("operation_id", "disk_id", "snapshot_id")
TICKETS = Tickets("disk", "advance_disk", "disk_id", QUEUE)
SNAPSHOT_TICKETS = Tickets("disk_snapshot", "advance_snapshot", "snapshot_id", QUEUE)
# A disk that a reservation asks for without saying how large.
DEFAULT_SIZE_GB = 100
# The code that a disk's attach_error begins with where another zone may do.
ZONE_FULL = "ZONE_FULL"
QUOTA = "QUOTA"
# Why a disk keeps a reservation waiting, as `disk_hold` (170) says it.
DISK_IN_USE, SNAPSHOT_PENDING = "DISK_IN_USE", "SNAPSHOT_PENDING"


class Status(StrEnum):
    """Who moves a disk on from each state."""

    CREATING = "creating"  # the disk worker, when what it starts with is there
    AVAILABLE = "available"  # a reservation, or delete_disk
    ATTACHED = "attached"  # the end of its reservation; then the disk worker, when its snapshot is completed
    DELETED = "deleted"  # undelete_disk, or time: 30 days
    PURGED = "purged"  # nobody
    FAILED = "failed"  # nobody


class SnapshotStatus(StrEnum):
    """Who moves a snapshot on from each state."""

    PENDING = "pending"  # the disk worker: it asks AWS
    CREATING = "creating"  # AWS, in minutes or hours
    COMPLETED = "completed"  # retention, or the purge of its disk
    DELETING = "deleting"  # AWS, when it no longer has it
    DELETED = "deleted"  # nobody
    FAILED = "failed"  # nobody


class OperationStatus(StrEnum):
    """Who moves an operation on from each state."""

    PENDING = "pending"  # the disk worker, at once; or a while later where nobody knows the disk yet
    IN_PROGRESS = "in_progress"  # its disk or snapshot
    COMPLETED = "completed"  # nobody
    FAILED = "failed"  # nobody, unless an operator replays its dead letter


LIVE_SNAPSHOT = frozenset({SnapshotStatus.PENDING, SnapshotStatus.CREATING, SnapshotStatus.DELETING})
UNFINISHED = frozenset({SnapshotStatus.PENDING, SnapshotStatus.CREATING})
LIVE_OPERATION = frozenset({OperationStatus.PENDING, OperationStatus.IN_PROGRESS})

DISK_NAME = r"^[A-Za-z0-9_-]{1,255}$"
DiskName = Annotated[
    str,
    matching(DISK_NAME, "must be letters, digits, '-' and '_', at most 255"),
    Field(json_schema_extra={"pattern": DISK_NAME}),
]
SizeGb = Annotated[int, Field(ge=10, le=10_000)]
SnapshotKind = Literal["manual", "shutdown", "cancellation", "migration"]


class Operation(Message):
    """What a user asks of a disk of theirs. The same `operation_id` twice is one operation."""

    operation_id: Uuid
    user_id: Name


class CreateDisk(Operation):
    """A new, empty disk."""

    action: Literal["create_disk"] = "create_disk"
    disk_name: DiskName
    size_gb: SizeGb


class SnapshotDisk(Operation):
    """A copy of a disk that is in use, as it is now. One that nobody uses has its copy already."""

    action: Literal["snapshot_disk"] = "snapshot_disk"
    disk_name: DiskName
    kind: SnapshotKind = "manual"


class DeleteDisk(Operation):
    """It goes in 30 days; until then it can be brought back."""

    action: Literal["delete_disk"] = "delete_disk"
    disk_name: DiskName


class UndeleteDisk(Operation):
    """Bring a deleted disk back, in the time in which it can be."""

    action: Literal["undelete_disk"] = "undelete_disk"
    disk_name: DiskName


class CloneDisk(Operation):
    """A new disk with what another one holds: of one in use, what it holds now."""

    action: Literal["clone_disk"] = "clone_disk"
    source_disk: DiskName
    target_disk: DiskName

    @property
    def disk_name(self) -> str:
        return self.target_disk


class RestoreDisk(Operation):
    """The next reservation finds what an older snapshot holds. The newer snapshots stay."""

    action: Literal["restore_disk"] = "restore_disk"
    disk_name: DiskName
    snapshot_id: Uuid


class ClearDiskLock(Operation):
    """Release a disk whose reservation has gone without doing so."""

    action: Literal["clear_disk_lock"] = "clear_disk_lock"
    disk_name: DiskName


class Proceed(Message):
    """The worker's own: an operation may be able to go on."""

    action: Literal["proceed"] = "proceed"
    operation_id: Uuid


class DiskTicket(Message):
    """The worker's own: a disk's turn to be looked at. An older number than the row's is stale."""

    action: Literal["advance_disk"] = "advance_disk"
    disk_id: Uuid
    ticket: TicketNumber


class SnapshotTicket(Message):
    """The worker's own: the same of a snapshot."""

    action: Literal["advance_snapshot"] = "advance_snapshot"
    snapshot_id: Uuid
    ticket: TicketNumber


class Prune(Message):
    """The worker's own: let go of snapshots that are old and not among a disk's newest."""

    action: Literal["prune"] = "prune"


class PruneSnapshot(Message):
    """The worker's own: the same of one snapshot, if it still is."""

    action: Literal["prune_snapshot"] = "prune_snapshot"
    snapshot_id: Uuid


class Reconcile(Message):
    """The worker's own: compare all rows with all that AWS has."""

    action: Literal["reconcile"] = "reconcile"


class Suspect(Message):
    """The worker's own: look closely at something that AWS has and no row seemed to account for."""

    action: Literal["suspect"] = "suspect"
    resource_id: Annotated[str, matching(r"^(vol|snap)-[A-Za-z0-9]{1,60}$", "must be the id of a volume or a snapshot")]
    # What its tags say.
    disk_id: Uuid | None = None
    snapshot_id: Uuid | None = None


# What others send; the published JSON Schema is made of these.
REQUESTS: dict[str, type[Message]] = by_action(
    CreateDisk, SnapshotDisk, DeleteDisk, UndeleteDisk, CloneDisk, RestoreDisk, ClearDiskLock
)
ACTIONS: dict[str, type[Message]] = {
    **REQUESTS,
    **by_action(Proceed, DiskTicket, SnapshotTicket, Sweep, Prune, PruneSnapshot, Reconcile, Suspect),
}


def read(body: Any) -> Message:
    """A body of `disk_operations` as its message.

    Raises:
        BadMessage: with a reason that a person understands.
    """
    return read_message(body, ACTIONS)
