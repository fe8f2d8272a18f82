"""The reservation worker: what each message, and each state, makes of a reservation.

    pending --> queued --> preparing --> active --> expired
       |          ^  |         |  |         |
       |          +--+---------+  |         |      preparing -> queued: no node, GPUs given back
       +----------+---------------+---------+----> cancelled     (the user; wins from every live state)
       +----------+---------------+---------+----> failed        (us; the reason says why)

A live row has one ticket: a message that gives it its turn, now or later. A move hands out the next ticket and makes
the one before it stale. A line is looked at (`admit`) whenever somebody joins it or GPUs are freed.
"""

from datetime import timedelta

from pgfleet.schema.messages import Message
from pgfleet.schema.reservation import (
    FINAL,
    QUEUE,
    TICKETS,
    WAITING,
    Admit,
    Cancel,
    CreateReservation,
    Extend,
    Request,
    Status,
    SweepPods,
    Ticket,
    misfit,
    read,
)
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.reservations import reservations
from pgfleet.workers.reservation.disk import disk_misfit, first_disk
from pgfleet.workers.reservation.line import admit, admit_message, wait_in_line
from pgfleet.workers.reservation.pod import prepare, teardown, watch
from pgfleet.workers.reservation.sweeps import sweep_pods
from pgfleet.workers.reservation.tools import Tools, Turn, connected, ended, hand_out, ticket
from pgfleet.workers.reservation.view import View, load
from pgfleet.workers.runtime.kind import Kind
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Done,
    Move,
    New,
    Outcome,
    Reject,
    Wait,
)
from pgfleet.workers.runtime.tickets import Step, take_turn

STEPS: dict[Status, Step] = {
    Status.PENDING: wait_in_line,
    Status.QUEUED: wait_in_line,
    Status.PREPARING: prepare,
    Status.ACTIVE: watch,
    Status.EXPIRED: teardown,
    Status.CANCELLED: teardown,
    Status.FAILED: teardown,
}


def step(message: Message, turn: Turn) -> Outcome:
    """One decision about one message."""
    match message:
        case Ticket():
            # A final row is torn down by whatever ticket comes: the effect of a step that was overtaken by a cancel
            # may have come after the teardown.
            row = turn.view.rows.get(message.reservation_id)
            return take_turn(row, message.ticket, STEPS, turn, takes_any=FINAL)
        case Admit():
            return admit(message, turn)
        case CreateReservation():
            return create(message, turn)
        case SweepPods():
            return sweep_pods(turn)
        case Request():
            return _request(message, turn)
        case _:
            return Reject(f"{type(message).__name__} is no message of this queue")


def create(message: CreateReservation, turn: Turn) -> Outcome:
    """(new) -> pending."""
    row = turn.view.rows.get(message.reservation_id)
    if row is not None:
        return _start(row, message, turn.view)
    problem = _unsupported(message) or _misfit(message, turn) or disk_misfit(message, turn.view)
    if problem:
        return Reject(problem)
    values = {
        **message.model_dump(include=_COPIED),
        "gpu_type": message.gpu_type,
        "instance_type": turn.view.gpu_types[message.gpu_type].instance_type,
        "created_at": turn.sent_at,
        "waiting_since": turn.sent_at,
        "line_number": turn.msg_id,
        "cli_version": message.version,
        "total_nodes": 1,
        "namespace": turn.tools.settings.namespace,
        "github_user": message.github_user or message.user_id,
        "current_detailed_status": "Waiting for its turn",
        "jupyter_error": "Jupyter is not available yet" if message.jupyter_enabled else None,
        "ticket": 1,
    }
    new = New(reservations, Status.PENDING, "reserved", values)
    disk = first_disk(message.reservation_id, message.user_id, message.disk_name, message.disk_size_gb, turn.view)
    recheck = turn.later(turn.tools.settings.line_recheck_s)
    line = (admit_message(message.gpu_type), ticket(message.reservation_id, 1, recheck))
    return Advance((new,)) + disk + Advance(then=line)


_COPIED = {
    "reservation_id",
    "user_id",
    "disk_name",
    "gpu_count",
    "duration_hours",
    "name",
    "jupyter_enabled",
    "dockerimage",
    "env_vars",
    "command",
    "preserve_entrypoint",
    "secondary_users",
}


def _start(row: Row, message: CreateReservation, view: View) -> Outcome:
    """A producer may have inserted the row itself; otherwise it is a duplicate, or cancelled already."""
    if row.status != Status.PENDING or row.ticket != 0:
        return Done(f"known already, {row.status}")
    # Its first ticket looks at it as a message would have been looked at.
    disk = first_disk(row.reservation_id, row.user_id, row.disk_name, message.disk_size_gb, view)
    return hand_out(Move(row, None)) + disk


def _unsupported(message: CreateReservation) -> str | None:
    if message.total_nodes > 1:
        return "total_nodes: reservations of several nodes are not available yet; ask for one"
    return None


def _misfit(message: CreateReservation, turn: Turn) -> str | None:
    gpu_type = turn.view.gpu_types.get(message.gpu_type)
    if gpu_type is not None and not gpu_type.is_active:
        return f"gpu_type: {message.gpu_type} is switched off"
    return misfit(message, gpu_type, turn.tools.settings.max_hours)


def _request(message: Request, turn: Turn) -> Outcome:
    """What a user asks of a row: theirs, known by now, and still live."""
    row = turn.view.rows.get(message.reservation_id)
    if row is None:
        patience = turn.sent_at + timedelta(seconds=turn.tools.settings.unknown_row_s)
        if turn.now < patience:
            return Wait("no such reservation yet", patience)
        if isinstance(message, Cancel):
            return _tombstone(message, turn.view)
        return Reject(f"there is no reservation {message.reservation_id}")
    if row.user_id != message.user_id:
        return Reject(f"reservation {message.reservation_id} does not belong to {message.user_id}")
    if row.status in FINAL:
        return Done(f"too late, it is {row.status}")
    match message:
        case Cancel():
            return cancel(row, turn.view)
        case Extend():
            return extend(row, message, turn.tools)
        case _:
            return Reject(f"action: {getattr(message, 'action', '')} is not available yet")


def cancel(row: Row, view: View) -> Outcome:
    """The user's end, from every live state; teardown follows if there is anything to tear down."""
    values = {"cancelled_at": view.now, "current_detailed_status": "Cancelled", **ended(row, view)}
    return _end(Move(row, Status.CANCELLED, "cancelled by its user", values))


def _end(move: Move) -> Advance:
    """A last move, with the ticket of its teardown; its line is looked at if the row stood in it."""
    line = (admit_message(move.row.gpu_type),) if move.row.status in WAITING else ()
    return Advance(then=line) + hand_out(move)


def _tombstone(message: Cancel, view: View) -> Outcome:
    values = {
        "reservation_id": message.reservation_id,
        "user_id": message.user_id,
        "duration_hours": 8,
        "created_at": view.now,
        "cancelled_at": view.now,
        "reservation_ended": view.now,
    }
    return Advance((New(reservations, Status.CANCELLED, "cancelled before it was created", values),))


def extend(row: Row, message: Extend, tools: Tools) -> Outcome:
    """More time; warnings are armed again. A row that waits still gets its whole time once it is active."""
    total_h = row.duration_hours + message.extension_hours
    if total_h > tools.settings.max_total_hours:
        return Reject(f"extension_hours: {total_h:g} hours in total are more than {tools.settings.max_total_hours:g}")
    values = {"duration_hours": total_h, "warnings_sent": {}, "warning": None}
    if row.expires_at is not None:
        values["expires_at"] = row.expires_at + timedelta(hours=message.extension_hours)
    return Advance((Move(row, None, values=values),))


def key(message: Message) -> str:
    match message:
        case Admit():
            return f"line {message.gpu_type}"
        case SweepPods():
            return type(message).__name__
        case Request() | CreateReservation() | Ticket():
            return message.reservation_id
        case _:
            return ""


def fail(message: Message, view: View, reason: str) -> Outcome | None:
    """Given up: a ticket fails its row. Anything else is only a dead letter: the row did nothing wrong."""
    if not isinstance(message, Ticket):
        return None
    row = view.rows.get(message.reservation_id)
    if row is None or row.status in FINAL or row.ticket != message.ticket:
        return None
    values = {"failed_at": view.now, "failure_reason": reason, **ended(row, view)}
    return _end(Move(row, Status.FAILED, reason, values))


def limit(message: Message, view: View, settings: Settings) -> int | None:
    """How many attempts. An active row is not lost to an outage, and teardown repeats until all is gone."""
    row = view.rows.get(message.reservation_id) if isinstance(message, Ticket) else None
    patient = isinstance(message, (Admit, SweepPods)) or (
        row is not None and (row.status == Status.ACTIVE or row.status in FINAL)
    )
    return None if patient else settings.attempts


KIND = Kind(
    name="reservation",
    queue=QUEUE,
    read=read,
    key=key,
    load=load,
    step=step,
    fail=fail,
    limit=limit,
    tools=connected,
    batch=16,
    once=lambda message: isinstance(message, (Admit, SweepPods, Ticket)),
    effects=True,
    tickets=(TICKETS,),
)
