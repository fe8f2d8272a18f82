"""The reservation worker: what each message, and each state, makes of a reservation.

    pending --> queued --> preparing --> active --> expired
       |          ^  |         |  |         |
       |          +--+---------+  |         |      preparing -> queued: no node, GPUs given back
       +----------+---------------+---------+----> cancelled     (the user; wins from every live state)
       +----------+---------------+---------+----> failed        (us; the reason says why)

A live row has one ticket: a message that gives it its turn, now or later. A move hands out the next ticket and makes
the one before it stale. A line is looked at (`admit`) whenever somebody joins it or GPUs are freed.
"""

from collections.abc import Callable
from datetime import timedelta

from pgfleet.schema.disk import NUDGE
from pgfleet.schema.messages import Message
from pgfleet.schema.reservation import (
    FINAL,
    QUEUE,
    WAITING,
    Admit,
    Cancel,
    CreateReservation,
    Extend,
    Request,
    Status,
    Sweep,
    SweepPods,
    Ticket,
    misfit,
    read,
)
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables import reservations
from pgfleet.workers.reservation.disk import disk_misfit, first_disk
from pgfleet.workers.reservation.line import admit, admit_message, wait_in_line
from pgfleet.workers.reservation.pod import prepare, teardown, watch
from pgfleet.workers.reservation.sweeps import sweep, sweep_pods
from pgfleet.workers.reservation.tools import Tools, connected, end_of_line, next_ticket, ticket
from pgfleet.workers.reservation.view import View, load
from pgfleet.workers.runtime.kind import Kind, Occasion
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Done,
    Move,
    New,
    Outcome,
    Reject,
    Send,
    Wait,
    advance,
    without_waiting,
)

Step = Callable[[Row, View, Tools, Occasion], Outcome]

STEPS: dict[Status, Step] = {
    Status.PENDING: wait_in_line,
    Status.QUEUED: wait_in_line,
    Status.PREPARING: prepare,
    Status.ACTIVE: watch,
    Status.EXPIRED: teardown,
    Status.CANCELLED: teardown,
    Status.FAILED: teardown,
}


def step(message: Message, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    """One decision about one message."""
    match message:
        case Ticket():
            return _turn(message, view, tools, occasion)
        case Admit():
            return admit(message, view, tools)
        case CreateReservation():
            return create(message, view, tools, occasion)
        case Sweep():
            return sweep(view)
        case SweepPods():
            return sweep_pods(view, tools)
        case Request():
            return _request(message, view, tools, occasion)
        case _:
            return Reject(f"{type(message).__name__} is no message of this queue")


def _turn(message: Ticket, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    row = view.rows.get(message.reservation_id)
    if row is None:
        return Done("no such reservation")
    # A final row is torn down by whatever ticket comes: the effect of a step that was overtaken by a cancel
    # may have come after the teardown.
    if message.ticket not in (NUDGE, row.ticket) and row.status not in FINAL:
        return Done("a stale ticket")
    outcome = STEPS[Status(row.status)](row, view, tools, occasion)
    return without_waiting(outcome) if message.ticket == NUDGE else outcome


def create(message: CreateReservation, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    """(new) -> pending."""
    row = view.rows.get(message.reservation_id)
    if row is not None:
        return _start(row, message, view)
    problem = _unsupported(message) or _misfit(message, view, tools) or disk_misfit(message, view)
    if problem:
        return Reject(problem)
    values = {
        **message.model_dump(include=_COPIED),
        "gpu_type": message.gpu_type,
        "instance_type": view.gpu_types[message.gpu_type].instance_type,
        "created_at": occasion.sent_at,
        "waiting_since": occasion.sent_at,
        "line_number": occasion.msg_id,
        "cli_version": message.version,
        "total_nodes": 1,
        "namespace": tools.settings.namespace,
        "github_user": message.github_user or message.user_id,
        "current_detailed_status": "Waiting for its turn",
        "jupyter_error": "Jupyter is not available yet" if message.jupyter_enabled else None,
        "ticket": 1,
    }
    new = New(reservations, Status.PENDING, "reserved", values)
    disk = first_disk(message.reservation_id, message.user_id, message.disk_name, message.disk_size_gb, view)
    line = _into_line(message.reservation_id, 1, message.gpu_type, view, tools)
    return Advance((new, *disk.changes), (*disk.then, *line))


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
    # Its first turn looks at it as a message would have been looked at.
    disk = first_disk(row.reservation_id, row.user_id, row.disk_name, message.disk_size_gb, view)
    taken_up = Move(row, None, values={"ticket": 1})
    return Advance((taken_up, *disk.changes), (*disk.then, ticket(row.reservation_id, 1)))


def _into_line(row_id: str, number: int, gpu_type: str, view: View, tools: Tools) -> tuple[Send, ...]:
    recheck = view.now + timedelta(seconds=tools.settings.line_recheck_s)
    return (admit_message(gpu_type), ticket(row_id, number, recheck))


def _unsupported(message: CreateReservation) -> str | None:
    if message.total_nodes > 1:
        return "total_nodes: reservations of several nodes are not available yet; ask for one"
    return None


def _misfit(message: CreateReservation, view: View, tools: Tools) -> str | None:
    gpu_type = view.gpu_types.get(message.gpu_type)
    if gpu_type is not None and not gpu_type.is_active:
        return f"gpu_type: {message.gpu_type} is switched off"
    return misfit(message, gpu_type, tools.settings.max_hours)


def _request(message: Request, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    """What a user asks of a row: theirs, known by now, and still live."""
    row = view.rows.get(message.reservation_id)
    if row is None:
        patience = occasion.sent_at + timedelta(seconds=tools.settings.unknown_row_s)
        if view.now < patience:
            return Wait("no such reservation yet", patience)
        if isinstance(message, Cancel):
            return _tombstone(message, view)
        return Reject(f"there is no reservation {message.reservation_id}")
    if row.user_id != message.user_id:
        return Reject(f"reservation {message.reservation_id} does not belong to {message.user_id}")
    if row.status in FINAL:
        return Done(f"too late, it is {row.status}")
    match message:
        case Cancel():
            return cancel(row, view)
        case Extend():
            return extend(row, message, tools)
        case _:
            return Reject(f"action: {getattr(message, 'action', '')} is not available yet")


def cancel(row: Row, view: View) -> Outcome:
    """The user's end, from every live state; teardown follows if there is anything to tear down."""
    values = {"cancelled_at": view.now, "current_detailed_status": "Cancelled", **end_of_line(row, view)}
    return advance(row, Status.CANCELLED, "cancelled by its user", values, _farewell(row))


def _farewell(row: Row) -> tuple[Send, ...]:
    """After a last move: the teardown's ticket, and the line if the row stood in it."""
    line = (admit_message(row.gpu_type),) if row.status in WAITING else ()
    return (*line, next_ticket(row))


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
        case Sweep() | SweepPods():
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
    values = {"failed_at": view.now, "failure_reason": reason, **end_of_line(row, view)}
    return advance(row, Status.FAILED, reason, values, _farewell(row))


def limit(message: Message, view: View, settings: Settings) -> int | None:
    """How many attempts. An active row is not lost to an outage, and teardown repeats until all is gone."""
    row = view.rows.get(message.reservation_id) if isinstance(message, Ticket) else None
    patient = isinstance(message, (Admit, Sweep, SweepPods)) or (
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
    once=lambda message: isinstance(message, (Admit, Sweep, SweepPods, Ticket)),
    effects=True,
)
