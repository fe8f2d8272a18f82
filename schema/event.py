"""Subscriptions to events: their states, and the messages of the queue `event_deliveries`.

The moves between the states are in `060_event_machine.sql`, where the database enforces them; the steps that make
them are in `workers/event/`. No message holds an address or a secret: those are placed beside it (156).
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from pgfleet.schema.feed.cursor import BadCursor, Cursor
from pgfleet.schema.messages import Message, Name, Sweep, TicketNumber, Uuid, by_action, read_message
from pgfleet.schema.tickets import Tickets

QUEUE = "event_deliveries"
IDS = ("subscription_id",)
TICKETS = Tickets("subscription", "deliver", "subscription_id", QUEUE)


class Status(StrEnum):
    """Who moves a subscription on from each state."""

    PENDING = "pending"  # its message
    ACTIVE = "active"  # what is answered, or its user
    FAILING = "failing"  # what is answered, or time
    OFF = "off"  # its user


LIVE = frozenset({Status.ACTIVE, Status.FAILING})


class Format(StrEnum):
    """How events are written."""

    CLOUDEVENTS = "cloudevents"
    SLACK = "slack"
    TEAMS = "teams"


def _position(text: str) -> str:
    try:
        return str(Cursor.parse(text))
    except BadCursor as error:
        raise ValueError(str(error)) from None


Position = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{1,9}\.[0-9]{1,19}\.[0-9]{1,18}$"), AfterValidator(_position)
]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]{1,60}$")]
Words = Annotated[list[Word], Field(min_length=1, max_length=50)]


class Request(Message):
    """What a user asks of a subscription of their own."""

    subscription_id: Uuid
    user_id: Name


class Subscribe(Request):
    """Tell a user's address of events from now on. It is sent by `place_subscription`, which keeps the address."""

    action: Literal["subscribe"] = "subscribe"
    format: Literal["cloudevents", "slack", "teams"] = "cloudevents"
    machines: Words | None = None
    states: Words | None = None
    of_user: Name | None = None
    row_id: Name | None = None


class Unsubscribe(Request):
    """Send nothing more."""

    action: Literal["unsubscribe"] = "unsubscribe"


class Resume(Request):
    """Go on with a subscription that is off, where it was."""

    action: Literal["resume"] = "resume"


class Test(Request):
    """Send one event that says that it is a test, once."""

    action: Literal["test"] = "test"


class SendAgain(Request):
    """Deliver what is after a position once more."""

    action: Literal["send_again"] = "send_again"
    after: Position


class Look(Message):
    """The worker's own: is there anything to be told?"""

    action: Literal["look"] = "look"
    subscription_id: Uuid


class Deliver(Message):
    """The worker's own: the row's turn to deliver its batch, which the row holds. Positions are for who reads it."""

    action: Literal["deliver"] = "deliver"
    subscription_id: Uuid
    ticket: TicketNumber
    after: Position | None = None
    to: Position | None = None


class Redeliver(Message):
    """The worker's own: a batch that had become a dead letter, once more."""

    action: Literal["redeliver"] = "redeliver"
    subscription_id: Uuid
    after: Position
    to: Position


class LookAround(Message):
    """The worker's own: look for events that nobody was woken for."""

    action: Literal["look_around"] = "look_around"


# What others send; the published JSON Schema is made of these.
REQUESTS: dict[str, type[Message]] = by_action(Subscribe, Unsubscribe, Resume, Test, SendAgain)


def read(body: Any) -> Message:
    """A body of `event_deliveries` as its message.

    Raises:
        BadMessage: with a reason that a person understands.
    """
    return read_message(body, {**REQUESTS, **by_action(Look, Deliver, Redeliver, LookAround, Sweep)})
