"""The reminder worker.

    waiting --> reminded
       |
       +------> failed

A reminder that waits has one ticket, which is due when its time has come.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from pgfleet.schema.messages import Message
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reminder import QUEUE, TICKETS, Remind, Status, Ticket, read
from pgfleet.schema.rows.row import Row, ask_rows, rows_of
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.reminders import reminders
from pgfleet.workers.runtime import kind, tickets
from pgfleet.workers.runtime.kind import Kind
from pgfleet.workers.runtime.outcomes import Done, Move, New, Outcome, wait
from pgfleet.workers.runtime.tickets import Step, take_turn


@dataclass(frozen=True, slots=True)
class View:
    """The rows that messages are about, as they are at `now`."""

    now: datetime
    rows: dict[str, Row]


Turn: TypeAlias = kind.Turn[View, None]


def remind(row: Row, turn: Turn) -> Outcome:
    """Waiting -> reminded, when its time has come."""
    if turn.now < row.due_at:
        return wait(row, f"Due at {row.due_at:%Y-%m-%d %H:%M}", row.due_at)
    return tickets.withdraw(Move(row, Status.REMINDED, f"reminded of: {row.note}"))


def ended(row: Row, turn: Turn) -> Outcome:  # noqa: ARG001  # a step
    return Done(f"it is {row.status}")


STEPS: dict[Status, Step] = {Status.WAITING: remind, Status.REMINDED: ended, Status.FAILED: ended}


def step(message: Message, turn: Turn) -> Outcome:
    """One decision about one message."""
    match message:
        case Remind():
            return _begin(message, turn)
        case Ticket():
            return take_turn(turn.view.rows.get(message.reminder_id), message.ticket, STEPS, turn)
        case _:
            return Done("nothing to do")


def _begin(message: Remind, turn: Turn) -> Outcome:
    """(new) -> waiting."""
    if message.reminder_id in turn.view.rows:
        return Done("known already")
    due_at = turn.sent_at + timedelta(seconds=message.after_s)
    given = message.model_dump(include={"user_id", "note"})
    values = {"reminder_id": UUID(message.reminder_id), **given, "due_at": due_at}
    return tickets.hand_out(TICKETS, New(reminders, Status.WAITING, "asked for", values), due_at)


def fail(message: Message, view: View, reason: str) -> Outcome | None:
    """A ticket that is given up fails its row; anything else is only a dead letter."""
    row = view.rows.get(message.reminder_id) if isinstance(message, Ticket) else None
    if row is None or row.status != Status.WAITING:
        return None
    return tickets.withdraw(Move(row, Status.FAILED, reason))


def load(conn: Connection, messages: Sequence[Any], settings: Settings) -> View:  # noqa: ARG001  # a load
    with conn.pipeline():
        now = conn.execute("select public.fleet_now()")
        rows = ask_rows(conn, reminders, [message.reminder_id for message in messages])
    [(moment,)] = now.fetchall()
    return View(moment, {str(key): row for key, row in rows_of(reminders, rows).items()})


KIND = Kind(
    name="reminder",
    queue=QUEUE,
    read=read,
    key=lambda message: getattr(message, "reminder_id", ""),
    load=load,
    step=step,
    fail=fail,
    limit=lambda _message, _view, settings: settings.attempts,
    tools=lambda _settings, _breakers: nullcontext(),
    batch=50,
    tickets=(TICKETS,),
)
