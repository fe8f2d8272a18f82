"""Rows that the API has placed with their message (168): they wait for it, and fail where it is refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from pgfleet.schema.gang.asked import row_of
from pgfleet.schema.gang.nodes import nodes_of
from pgfleet.schema.reservation import WAITING, CreateReservation, Status
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tickets import NUDGE
from pgfleet.workers.reservation.tools import Turn, ended
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, Outcome, Reject

LOST = "its message was lost, or could not be read; nothing was reserved"


def is_unchecked(row: Row) -> bool:
    """Whether nobody has looked yet whether it may be."""
    return row.unchecked_since is not None and row.status in WAITING


def unlike(placed: Sequence[Row], message: CreateReservation) -> str | None:
    """Where the rows are not what the message asks for."""
    nodes = nodes_of(row_of(message), message.nodes)
    if len(nodes) != len(placed):
        return f"total_nodes: {len(nodes)}, but {len(placed)} were placed"
    wrong = {name for node, row in zip(nodes, placed, strict=True) for name in _differing(node, row)}
    return f"{', '.join(sorted(wrong))}: not as the row has it that was placed with the message" if wrong else None


def _differing(node: Mapping[str, Any], row: Row) -> list[str]:
    return [name for name, value in node.items() if name != "jupyter_token" and row[name] != value]


def take_up(row: Row, values: Mapping[str, Any]) -> Move:
    """The row as a new one would be."""
    known = {name: value for name, value in values.items() if name != "reservation_id"}
    return Move(row, None, values={**known, "unchecked_since": None})


def refuse(placed: Sequence[Row], reason: str, view: View) -> Reject:
    """The message is a dead letter, and what was placed with it has failed."""
    return Reject(reason, tuple(_failed(row, reason, view) for row in placed))


def fail_placed(placed: Sequence[Row], reason: str, view: View) -> Advance:
    return Advance(tuple(_failed(row, reason, view) for row in placed))


def _failed(row: Row, reason: str, view: View) -> Move:
    values = {
        "failed_at": view.now,
        "failure_reason": reason,
        "current_detailed_status": "Failed",
        "unchecked_since": None,
        **ended(row, view),
    }
    return Move(row, Status.FAILED, reason, values)


def wait_for_message(rows: Sequence[Row], number: int, turn: Turn) -> Outcome:
    """A turn of a row whose message is still to come. One of its own is the sweep's: then there is no message."""
    return Done("its message comes first") if number == NUDGE else fail_placed(rows, LOST, turn.view)
