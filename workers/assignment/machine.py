"""The assignment worker: every user a seat on a Hopsworks cluster and an account there, exactly once.

    pending --> creating_user --> active --> released --> pending (assigned again)
       |              |
       +--------------+--> failed --> pending (asked for again, or replayed)

`admit` gives free seats to those who wait, oldest first; the row's ticket then makes the account. A row has one ticket
at a time: a move hands out the next and makes the one before it stale. What is wrong with a cluster is the cluster's:
its rows wait (`account.py`). Who leaves has no seat from that moment on; the account is deactivated after.
"""

from collections.abc import Callable

from pgfleet.schema.assignment import (
    BILLING,
    IDS,
    LIVE,
    MAY,
    QUEUE,
    Admit,
    Assign,
    CloseAccount,
    Drain,
    DrainPage,
    Follow,
    MeasureCluster,
    Reactivate,
    ReactivateMember,
    Release,
    Request,
    Status,
    Suspend,
    SuspendMember,
    SweepAccounts,
    SweepSeats,
    Ticket,
    read,
)
from pgfleet.schema.messages import Message, Sweep
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.workers.assignment.account import create_account, tend
from pgfleet.workers.assignment.billing import days as billing
from pgfleet.workers.assignment.billing.view import BillingView
from pgfleet.workers.assignment.closing import close
from pgfleet.workers.assignment.health import probe, sweep, sweep_accounts, sweep_seats
from pgfleet.workers.assignment.line import admit, wait_in_line
from pgfleet.workers.assignment.requests import assign, drain, follow, request
from pgfleet.workers.assignment.tools import BillingTurn, Turn, close_account, connected
from pgfleet.workers.assignment.view import View, load
from pgfleet.workers.runtime import kind
from pgfleet.workers.runtime.kind import Kind
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, Outcome, Reject
from pgfleet.workers.runtime.tickets import Step, take_turn, withdraw


def ended(row: Row, turn: Turn) -> Outcome:  # noqa: ARG001  # a step
    return Done(f"it is {row.status}")


STEPS: dict[Status, Step] = {
    Status.PENDING: wait_in_line,
    Status.CREATING_USER: create_account,
    Status.ACTIVE: tend,
    Status.RELEASED: ended,
    Status.FAILED: ended,
}


SWEEPS: dict[type[Message], Callable[[View], Outcome]] = {
    Sweep: sweep,
    SweepSeats: sweep_seats,
    SweepAccounts: sweep_accounts,
}


def step(message: Message, turn: Turn) -> Outcome:
    """One decision about one message."""
    match message:
        case Ticket():
            return _take_turn(message, turn)
        case Admit():
            return admit(turn)
        case Assign():
            return assign(message, turn)
        case Release() | Suspend() | Reactivate() | SuspendMember() | ReactivateMember():
            return request(message, turn)
        case CloseAccount():
            return close(message, turn)
        case Drain() | DrainPage():
            return drain(message, turn)
        case Follow():
            return follow(message, turn)
        case Sweep() | SweepSeats() | SweepAccounts():
            return SWEEPS[type(message)](turn.view)
        case _ if turn.view.billing is not None and isinstance(message, BILLING):
            return billing.step(message, _of_billing(turn, turn.view.billing))
        case _:
            return Reject(f"{type(message).__name__} is no message of this queue")


def _of_billing(turn: Turn, view: BillingView) -> BillingTurn:
    # By the class itself: called by its alias, Python before 3.12 can't make what is frozen and has slots.
    return kind.Turn(view, turn.tools, turn.msg_id, turn.sent_at, turn.hold, turn.breakers, turn.asked)


def _take_turn(message: Ticket, turn: Turn) -> Outcome:
    row = turn.view.rows.get(message.user_id)
    if row is not None and row.ticket != message.ticket:
        return _stale(row, message.cluster_id, turn.view)
    return take_turn(row, message.ticket, STEPS, turn)


def _stale(row: Row, cluster_id: str | None, view: View) -> Outcome:
    """What was made on a cluster that the user has left meanwhile may have come after its account was closed."""
    left = view.closings.get((row.user_id, cluster_id or ""))
    if left is None or str(row.hopsworks_cluster_id) == cluster_id:
        return Done("a stale ticket")
    again = {"closed_at": None, "asked_at": view.now, "may_be_unknown": True}
    return Advance((Move(left, None, values=again),), (close_account(row.user_id, str(cluster_id)),))


def key(message: Message) -> str:
    match message:
        case Request():
            return message.user_id
        case MeasureCluster():
            return f"cluster {message.cluster_id}"
        case _:
            return type(message).__name__


def fail(message: Message, view: View, reason: str) -> Outcome | None:
    """Given up: a ticket fails its live row, and the seat is given back. Anything else is only a dead letter."""
    if not isinstance(message, Ticket):
        return None
    row = view.rows.get(message.user_id)
    if row is None or row.status not in LIVE or row.ticket != message.ticket:
        return None
    values = {"failed_at": view.now, "detail": reason}
    return withdraw(Move(row, Status.FAILED, reason, values))


def limit(message: Message, view: View, settings: Settings) -> int | None:
    """How many attempts. Nobody who is active is given up, and no account of somebody who has left stays open.

    A cluster that does not answer counts as no attempt at all: its rows wait.
    """
    row = view.rows.get(message.user_id) if isinstance(message, Ticket) else None
    patient = not isinstance(message, Request) or isinstance(message, CloseAccount)
    return None if patient or (row is not None and row.status == Status.ACTIVE) else settings.attempts


def shown(message: Message, view: View) -> Row | None:
    """The row that says why its turn waits."""
    return view.rows.get(message.user_id) if isinstance(message, Ticket) else None


KIND = Kind(
    name="assignment",
    queue=QUEUE,
    read=read,
    key=key,
    ids=IDS,
    may=MAY,
    load=load,
    step=step,
    fail=fail,
    limit=limit,
    tools=connected,
    batch=16,
    once=lambda message: isinstance(message, (Admit, Sweep, SweepSeats, SweepAccounts, Ticket)),
    effects=True,
    shown=shown,
    probe=probe,
)
