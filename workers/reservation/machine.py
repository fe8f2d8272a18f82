"""The reservation worker: what each message, and each state, makes of a reservation.

    pending --> queued --> preparing --> active --> expired
       |          ^  |         |  |         |
       |          +--+---------+  |         |      preparing -> queued: no node, GPUs given back
       +----------+---------------+---------+----> cancelled     (the user; wins from every live state)
       +----------+---------------+---------+----> failed        (us; the reason says why)

A live row has one ticket: a message that gives it its turn, now or later. A move hands out the next ticket and makes
the one before it stale. A line is looked at (`admit`) whenever somebody joins it or GPUs are freed.
"""

from datetime import datetime, timedelta

from pgfleet.schema.messages import Message
from pgfleet.schema.reservation import (
    FINAL,
    IDS,
    QUEUE,
    TICKETS,
    WAITING,
    AddUser,
    Admit,
    Cancel,
    CreateReservation,
    DisableJupyter,
    EnableJupyter,
    Extend,
    Request,
    Retry,
    ServeLogs,
    Status,
    SuspectPod,
    SweepPods,
    SweepStuck,
    Ticket,
    read,
)
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.verdicts import EC2, KUBERNETES, SSH_KEYS
from pgfleet.workers.reservation.access.jupyter import switch
from pgfleet.workers.reservation.access.logs import serve
from pgfleet.workers.reservation.access.noting import another as _another
from pgfleet.workers.reservation.access.noting import noted as _done
from pgfleet.workers.reservation.access.noting import repeated
from pgfleet.workers.reservation.access.users import add
from pgfleet.workers.reservation.asked.creating import create, retry, tombstone
from pgfleet.workers.reservation.asked.extending import extend
from pgfleet.workers.reservation.asked.placed import fail_placed, is_unchecked, wait_for_message
from pgfleet.workers.reservation.cluster.watch import watching
from pgfleet.workers.reservation.gang.rows import ending_together, rows_of_gang, together
from pgfleet.workers.reservation.leaving import giving_up_place
from pgfleet.workers.reservation.line import admit, admit_message, wait_in_line
from pgfleet.workers.reservation.preparing import prepare
from pgfleet.workers.reservation.secrets import keeping_secrets
from pgfleet.workers.reservation.stuck import sweep_stuck
from pgfleet.workers.reservation.sweeps import suspect, sweep_pods
from pgfleet.workers.reservation.teardown import teardown
from pgfleet.workers.reservation.tools import Turn, connected, ended, hand_out, lacking, probe
from pgfleet.workers.reservation.view import View, load
from pgfleet.workers.reservation.watching import watch
from pgfleet.workers.runtime.kind import Kind
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Done,
    Move,
    Outcome,
    Reject,
    Wait,
)
from pgfleet.workers.runtime.tickets import Step, take_turn
from pgfleet.workers.sweeping import once_in_a_while

# A request for a row that is not known yet looks again after as long as it has waited, within these.
FIRST_LOOK_S = 0.25
LONGEST_LOOK_S = 5.0

STEPS: dict[Status, Step] = {
    Status.PENDING: ending_together(wait_in_line),
    Status.QUEUED: ending_together(wait_in_line),
    Status.PREPARING: keeping_secrets(ending_together(giving_up_place(prepare))),
    Status.ACTIVE: keeping_secrets(ending_together(watch)),
    Status.EXPIRED: keeping_secrets(teardown),
    Status.CANCELLED: keeping_secrets(teardown),
    Status.FAILED: keeping_secrets(teardown),
}


def step(message: Message, turn: Turn) -> Outcome:
    """One decision about one message."""
    match message:
        case Ticket():
            # A final row is torn down by whatever ticket comes: the effect of a step that was overtaken by a cancel
            # may have come after the teardown.
            row = turn.view.rows.get(message.reservation_id)
            if row is not None and is_unchecked(row):
                return wait_for_message(rows_of_gang(row, turn.view), message.ticket, turn)
            return take_turn(row, message.ticket, STEPS, turn, takes_any=FINAL)
        case Admit():
            return admit(message, turn)
        case CreateReservation():
            return create(message, turn)
        case SweepPods():
            return once_in_a_while(message.action, turn.view.periodic, turn, lambda: sweep_pods(turn))
        case SweepStuck():
            return sweep_stuck(turn)
        case SuspectPod():
            return suspect(message, turn)
        case ServeLogs():
            return serve(message, turn)
        case Request():
            return _request(message, turn)
        case _:
            return Reject(f"{type(message).__name__} is no message of this queue")


def _request(message: Request, turn: Turn) -> Outcome:
    """What a user asks of a row: theirs, known by now, and still live."""
    row = turn.view.rows.get(message.reservation_id)
    if row is None:
        patience = turn.sent_at + timedelta(seconds=turn.tools.settings.unknown_row_s)
        if turn.now < patience:
            return Wait("no such reservation yet", min(patience, _next_look(turn)))
        if isinstance(message, Cancel):
            return Advance((tombstone(message.reservation_id, message.user_id, turn.view),))
        return Reject(f"there is no reservation {message.reservation_id}")
    if row.user_id != message.user_id:
        return Reject(f"reservation {message.reservation_id} does not belong to {message.user_id}")
    if is_unchecked(row) and not isinstance(message, Cancel):
        return Wait("nobody has looked at the reservation yet", _next_look(turn))
    if isinstance(message, Retry):
        return retry(row, message, turn)
    if (before := repeated(row, message)) is not None:
        return before
    if row.status in FINAL:
        return Done(f"too late, it is {row.status}")
    return _asked_of(row, message, turn)


def _asked_of(row: Row, message: Request, turn: Turn) -> Outcome:
    """What is asked of a live row for the first time."""
    match message:
        case Cancel():
            return cancel(row, message, turn)
        case Extend():
            return extend(row, message, turn)
        case EnableJupyter() | DisableJupyter():
            return switch(row, message, turn)
        case AddUser():
            return add(row, message, turn)
        case _:
            return Reject(f"{type(message).__name__} is no request of this queue")


def _next_look(turn: Turn) -> datetime:
    """Whoever makes the row wakes what waits for it (180), but for what is in a worker's hands just then."""
    waited_s = (turn.now - turn.sent_at).total_seconds()
    return turn.later(min(max(waited_s, FIRST_LOOK_S), LONGEST_LOOK_S))


def cancel(row: Row, message: Cancel, turn: Turn) -> Outcome:
    """The user's end, from every live state; teardown follows if there is anything to tear down."""
    values = {"cancelled_at": turn.now, "current_detailed_status": "Cancelled"}
    reason = f"cancelled by {_another(row, turn) or 'its user'}"
    live = [each for each in rows_of_gang(row, turn.view) if each.status not in FINAL]
    noted = [(each, _done(each, message, "cancelled", turn)) for each in live]
    moves = [Move(each, Status.CANCELLED, reason, {**values, **ended(each, turn.view), **done}) for each, done in noted]
    return sum(map(_end, moves), Advance())


def _end(move: Move) -> Advance:
    """A last move, with the ticket of its teardown; its line is looked at if the row stood in it."""
    line = (admit_message(move.row.gpu_type),) if move.row.status in WAITING else ()
    return Advance(then=line) + hand_out(move)


def key(message: Message) -> str:
    match message:
        case Admit():
            return f"line {message.gpu_type}"
        case SweepPods() | SweepStuck():
            return type(message).__name__
        case SuspectPod():
            return f"pod {message.pod_uid}"
        case ServeLogs():
            return f"logs {message.request_id}"
        case Request() | CreateReservation() | Ticket():
            return message.reservation_id
        case _:
            return ""


def fail(message: Message, view: View, reason: str) -> Outcome | None:
    """Given up: a ticket fails its row, and a create the rows that were placed with it.

    Anything else is only a dead letter: the row did nothing wrong.
    """
    row = view.rows.get(message.reservation_id) if isinstance(message, (Ticket, CreateReservation)) else None
    if row is not None and isinstance(message, CreateReservation) and is_unchecked(row):
        return fail_placed(rows_of_gang(row, view), reason, view)
    if row is None or not isinstance(message, Ticket) or row.status in FINAL or row.ticket != message.ticket:
        return None
    values = {"failed_at": view.now, "failure_reason": reason, **ended(row, view)}
    return together(_end(Move(row, Status.FAILED, reason, values)), view)


def limit(message: Message, view: View, settings: Settings) -> int | None:
    """How many attempts. An active row is not lost to an outage, and teardown repeats until all is gone."""
    row = view.rows.get(message.reservation_id) if isinstance(message, Ticket) else None
    patient = isinstance(message, (Admit, SweepPods, SuspectPod, SweepStuck, ServeLogs)) or (
        row is not None and (row.status == Status.ACTIVE or row.status in FINAL)
    )
    return None if patient else settings.attempts


def shown(message: Message, view: View) -> Row | None:
    """The row that says why its turn waits."""
    return view.rows.get(message.reservation_id) if isinstance(message, Ticket) else None


KIND = Kind(
    name="reservation",
    queue=QUEUE,
    read=read,
    key=key,
    ids=IDS,
    load=load,
    step=step,
    fail=fail,
    limit=limit,
    tools=connected,
    batch=16,
    once=lambda message: isinstance(message, (Admit, SweepPods, SuspectPod, SweepStuck, Ticket)),
    effects=True,
    lacks=lacking,
    tickets=(TICKETS,),
    shown=shown,
    probe=probe,
    outlasts=(KUBERNETES, SSH_KEYS, EC2),
    watch=watching,
)
