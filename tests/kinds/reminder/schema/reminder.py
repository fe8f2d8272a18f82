"""Reminders: their states, and the messages of the queue `reminders`.

The moves between the states are in `050_reminder_machine.sql`, where the database enforces them; the steps that make
them are in `workers/reminder/machine.py`.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from pgfleet.schema.messages import Message, Name, Sweep, Uuid, by_action, read_message
from pgfleet.schema.tickets import Tickets

QUEUE = "reminders"
TICKETS = Tickets("reminder", "advance", "reminder_id", QUEUE)


class Status(StrEnum):
    """Who moves a reminder on from each state."""

    WAITING = "waiting"  # time
    REMINDED = "reminded"  # nobody
    FAILED = "failed"  # nobody


class Remind(Message):
    """Remind a user of something after some time. The same `reminder_id` twice is one reminder."""

    action: Literal["remind"] = "remind"
    reminder_id: Uuid
    user_id: Name
    note: Name
    after_s: Annotated[float, Field(ge=0, le=86_400 * 365)] = 0


class Ticket(Message):
    """The worker's own: the row's turn to be looked at. An older number than the row's is stale."""

    action: Literal["advance"] = "advance"
    reminder_id: Uuid
    ticket: int


# What others send; the published JSON Schema is made of these.
REQUESTS: dict[str, type[Message]] = by_action(Remind)


def read(body: Any) -> Message:
    """A body of `reminders` as its message.

    Raises:
        BadMessage: with a reason that a person understands.
    """
    return read_message(body, {**REQUESTS, **by_action(Ticket, Sweep)})
