"""A row's ticket: handed out with the change that makes the one before it stale, and taken for the row's turn."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.forgotten import ask_forgotten
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tickets import NUDGE, Tickets, next_number
from pgfleet.workers.runtime.kind import Turn
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, New, Outcome, Send, without_waiting

# How many rows of a machine one sweep looks after.
REPAIR_LIMIT = 500

Step: TypeAlias = Callable[[Row, Turn[Any, Any]], Outcome]


def ticket(tickets: Tickets, row_id: Any, number: int = NUDGE, at: datetime | None = None, **more: Any) -> Send:
    """A message that gives a row its turn, at a time or now; without a number it is a nudge, which is never stale."""
    return Send(tickets.body(row_id, number, **more), at, tickets.queue)


def lost(conn: Connection, tickets: Sequence[Tickets]) -> tuple[Send, ...]:
    """The present tickets of rows that have something left to do and no message that would do it."""
    return tuple(
        ticket(of_table, row_id, number)
        for of_table in tickets
        for row_id, number in ask_forgotten(conn, of_table.machine, REPAIR_LIMIT)
    )


def withdraw(move: Move, *then: Send) -> Advance:
    """A change after which nothing has to happen to the row: its present ticket is stale, and no other is sent."""
    return Advance((replace(move, values={**move.values, "ticket": next_number(move.row)}),), then)


def hand_out(tickets: Tickets, change: Move | New, at: datetime | None = None, **more: Any) -> Advance:
    """A change with the row's next ticket, or a new row with its first: number and message are one commit."""
    if isinstance(change, New):
        first = replace(change, values={**change.values, "ticket": 1})
        return Advance((first,), (ticket(tickets, change.values[tickets.id_name], 1, at, **more),))
    return withdraw(change, ticket(tickets, change.row[tickets.id_name], next_number(change.row), at, **more))


def take_turn(
    row: Row | None, number: int, steps: Mapping[Any, Step], turn: Turn[Any, Any], takes_any: Collection[str] = ()
) -> Outcome:
    """The step of the row's state, unless the ticket is stale; in the states of `takes_any` no ticket is."""
    if row is None:
        return Done("no such row")
    if number not in (NUDGE, row.ticket) and row.status not in takes_any:
        return Done("a stale ticket")
    outcome = steps[row.status](row, turn)
    return without_waiting(outcome) if number == NUDGE else outcome
