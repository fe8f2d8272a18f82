"""The event worker: every user's subscriptions are told of the events that they want, in order, at least once.

    (new) --> pending --> active <--> failing
                 |          |            |
                 +--------> off <--------+      off --> active (its user wants events again)

A subscription is idle, or has a batch with its one ticket. The watch follows the feed and sends a look to those that
are idle and want what has come; a look makes the batch; a delivery moves the position, and is followed by a look.
"""

from pgfleet.schema.event import IDS, QUEUE, TICKETS, Deliver, Look, LookAround, Redeliver, Request, read
from pgfleet.schema.messages import Message
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.workers.event.delivering import deliver, give_up, look_at, redeliver
from pgfleet.workers.event.requests import ask
from pgfleet.workers.event.tools import Turn, connected, look
from pgfleet.workers.event.view import View, load
from pgfleet.workers.event.watching import watching
from pgfleet.workers.runtime.kind import Kind
from pgfleet.workers.runtime.outcomes import Done, Outcome, Reject


def step(message: Message, turn: Turn) -> Outcome:
    """One decision about one message."""
    match message:
        case Request():
            return ask(message, turn)
        case Look():
            return look_at(turn.view.rows.get(message.subscription_id), turn.view.batches.get(message))
        case Deliver():
            return deliver(message, turn)
        case Redeliver():
            return redeliver(message, turn)
        case LookAround():
            return Done("looks sent", tuple(look(row_id) for row_id in turn.view.idle))
        case _:
            return Reject(f"{type(message).__name__} is no message of this queue")


def key(message: Message) -> str:
    """What one user asks is done one after the other, so that limits are counted."""
    if isinstance(message, Request):
        return f"user {message.user_id}"
    return getattr(message, "subscription_id", type(message).__name__)


def fail(message: Message, view: View, reason: str) -> Outcome | None:  # noqa: ARG001  # a fail
    """A batch that nobody takes is a dead letter, and its subscription goes on. Anything else is only a dead letter."""
    row = view.rows.get(message.subscription_id) if isinstance(message, Deliver) else None
    return None if row is None else give_up(row)


def limit(message: Message, view: View, settings: Settings) -> int | None:  # noqa: ARG001  # a limit
    """How many attempts. A batch has a limit of time, which its step sees to."""
    return None if isinstance(message, (Deliver, Look)) else settings.attempts


def shown(message: Message, view: View) -> Row | None:
    """The row that says why its turn waits."""
    return view.rows.get(message.subscription_id) if isinstance(message, Deliver) else None


KIND = Kind(
    name="event",
    queue=QUEUE,
    read=read,
    key=key,
    ids=IDS,
    load=load,
    step=step,
    fail=fail,
    limit=limit,
    tools=connected,
    batch=50,
    once=lambda message: isinstance(message, (Look, LookAround)),
    effects=True,
    shown=shown,
    tickets=(TICKETS,),
    watch=watching,
)
