"""The disk worker: what each message, and each state, makes of disks, their snapshots and what people ask of them.

    disk:      creating --> available <--> attached          snapshot:  pending --> creating --> completed --> deleting
                  |             |   ^                                      |           |                          |
                  v             v   | undelete                             +-----------+--> failed                v
                failed       deleted --> purged                                                               deleted

A disk is attached in the commit that admits its reservation, and its release is asked for when the pod is gone
(workers/reservation/disk.py); all that concerns AWS happens here. A row that something has to happen to has one ticket.
"""

import structlog

from pgfleet.schema.disk import (
    IDS,
    LIVE_OPERATION,
    QUEUE,
    UNFINISHED,
    DiskTicket,
    Operation,
    Proceed,
    Prune,
    PruneSnapshot,
    Reconcile,
    SnapshotStatus,
    SnapshotTicket,
    Status,
    Suspect,
    read,
)
from pgfleet.schema.messages import Message, Sweep
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.disks import disks
from pgfleet.workers.clients.aws.session import SnapshotGoneError, VolumeGoneError
from pgfleet.workers.clients.verdicts import EC2, S3
from pgfleet.workers.disk.life import begin as begin_disk
from pgfleet.workers.disk.life import deleted, purged_name
from pgfleet.workers.disk.operation import failed as failed_operation
from pgfleet.workers.disk.operation import is_unchecked, start
from pgfleet.workers.disk.reconcile import look, reconcile
from pgfleet.workers.disk.requests import go_on
from pgfleet.workers.disk.snapshot import begin, failed, kept, prune, remove, watch
from pgfleet.workers.disk.tools import Turn, connected, lacking, probe, proceed, proceed_all, volume_poll
from pgfleet.workers.disk.view import View, load
from pgfleet.workers.disk.volume import attached
from pgfleet.workers.handover import hand_out_disk
from pgfleet.workers.runtime.kind import Kind
from pgfleet.workers.runtime.outcomes import (
    Done,
    Move,
    Outcome,
    RefusedError,
    Reject,
    Send,
    wait,
)
from pgfleet.workers.runtime.tickets import Step, take_turn, withdraw
from pgfleet.workers.sweeping import once_in_a_while

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# What AWS refuses is asked for again, but not often: a person has to do something about it.
REFUSED_AGAIN_S = 600.0


def outliving_refusals(step: Step) -> Step:
    """A step of rows that hold data: what AWS refuses is shown in the row and asked for again, and fails nothing."""

    def again_later(row: Row, turn: Turn) -> Outcome:
        try:
            return step(row, turn)
        except RefusedError as refused:
            if row.table is disks and row.ebs_volume_id is None:
                raise
            if isinstance(refused, (VolumeGoneError, SnapshotGoneError)):
                # Seen a moment ago: what is new is not known to all of AWS at once.
                return wait(row, str(refused), volume_poll(turn))
            log.warning("disk.refused", row=str(row.key), reason=str(refused))
            return wait(row, str(refused), turn.later(REFUSED_AGAIN_S))

    return again_later


def rest(row: Row, turn: Turn) -> Outcome:  # noqa: ARG001  # a step
    return Done(f"it is {row.status}")


DISK_STEPS: dict[Status, Step] = {
    Status.CREATING: begin_disk,
    Status.AVAILABLE: rest,
    Status.ATTACHED: outliving_refusals(attached),
    Status.DELETED: deleted,
    Status.PURGED: rest,
    Status.FAILED: rest,
}

SNAPSHOT_STEPS: dict[SnapshotStatus, Step] = {
    SnapshotStatus.PENDING: begin,
    SnapshotStatus.CREATING: watch,
    SnapshotStatus.COMPLETED: outliving_refusals(kept),
    SnapshotStatus.DELETING: outliving_refusals(remove),
    SnapshotStatus.DELETED: rest,
    SnapshotStatus.FAILED: rest,
}


def step(message: Message, turn: Turn) -> Outcome:
    """One decision about one message."""
    match message:
        case Operation():
            return start(message, turn)
        case Proceed():
            row = turn.view.operations.get(message.operation_id)
            return Done("no such operation") if row is None else go_on(row, turn)
        case DiskTicket():
            return take_turn(turn.view.disks.get(message.disk_id), message.ticket, DISK_STEPS, turn)
        case SnapshotTicket():
            return take_turn(turn.view.snapshots.get(message.snapshot_id), message.ticket, SNAPSHOT_STEPS, turn)
        case PruneSnapshot():
            found = turn.view.snapshots.get(message.snapshot_id)
            return Done("no such snapshot") if found is None else prune(found, turn)
        case Suspect():
            return look(message, turn)
        case Reconcile():
            return once_in_a_while(message.action, turn.view.periodic, turn, lambda: reconcile(turn))
        case Sweep():
            return sweep(turn.view)
        case Prune():
            return once_in_a_while(message.action, turn.view.periodic, turn, lambda: look_through(turn.view))
        case _:
            return Reject(f"{type(message).__name__} is no message of this queue")


def sweep(view: View) -> Outcome:
    """Rows that something has to happen to and that have lost their message get one again."""
    return Done("rows looked after", (*view.lost, *map(proceed, view.untended)))


def look_through(view: View) -> Done:
    """Each snapshot that may go is looked at by itself."""
    return Done("snapshots looked through", tuple(map(_prune, view.prunable)))


def _prune(snapshot_id: str) -> Send:
    return Send({"action": "prune_snapshot", "snapshot_id": snapshot_id})


def key(message: Message) -> str:
    match message:
        case Operation() | Proceed():
            return message.operation_id
        case DiskTicket():
            return message.disk_id
        case SnapshotTicket() | PruneSnapshot():
            return message.snapshot_id
        case Suspect():
            return message.resource_id
        case _:
            return type(message).__name__


def fail(message: Message, view: View, reason: str) -> Outcome | None:
    """Given up: an operation, a snapshot or a new disk fails; a disk that can't be attached says why."""
    match message:
        case Proceed() if (row := view.operations.get(message.operation_id)) and row.status in LIVE_OPERATION:
            return failed_operation(row, reason, view)
        case Operation() if (row := view.operations.get(message.operation_id)) and is_unchecked(row):
            return failed_operation(row, reason, view)
        case SnapshotTicket() if (row := view.snapshots.get(message.snapshot_id)) and row.status in UNFINISHED:
            return failed(row, reason, view)
        case DiskTicket() if (row := view.disks.get(message.disk_id)) and message.ticket == row.ticket:
            return _fail_disk(row, reason, view)
        case _:
            return None


def _fail_disk(row: Row, reason: str, view: View) -> Outcome | None:
    if row.status == Status.CREATING:
        values = {"disk_name": purged_name(row), "detail": reason}
        return withdraw(Move(row, Status.FAILED, reason, values), *proceed_all(row.disk_id, view))
    if row.status == Status.ATTACHED and row.ebs_volume_id is None and row.release_asked_at is None:
        return hand_out_disk(Move(row, None, values={"attach_error": reason}))
    return None


def limit(message: Message, view: View, settings: Settings) -> int | None:
    """How many attempts. No outage costs anybody a volume, or a snapshot that a volume waits for."""
    match message:
        case SnapshotTicket():
            row = view.snapshots.get(message.snapshot_id)
            asked_for = row is not None and row.status == SnapshotStatus.PENDING and row.operation_id is not None
            return settings.attempts if asked_for else None
        case DiskTicket():
            disk = view.disks.get(message.disk_id)
            return settings.attempts if disk is not None and disk.status == Status.CREATING else None
        case Operation() | Proceed():
            return settings.attempts
        case _:
            return None


def shown(message: Message, view: View) -> Row | None:
    """The row that says why its turn waits."""
    match message:
        case DiskTicket():
            return view.disks.get(message.disk_id)
        case SnapshotTicket():
            return view.snapshots.get(message.snapshot_id)
        case Proceed():
            return view.operations.get(message.operation_id)
        case _:
            return None


KIND = Kind(
    name="disk",
    queue=QUEUE,
    read=read,
    key=key,
    ids=IDS,
    load=load,
    step=step,
    fail=fail,
    limit=limit,
    tools=connected,
    shown=shown,
    probe=probe,
    outlasts=(EC2, S3),
    batch=16,
    once=lambda message: not isinstance(message, Operation),
    effects=True,
    lacks=lacking,
)
