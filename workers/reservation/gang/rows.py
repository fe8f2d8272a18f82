"""The rows of a gang: what ends one of them ends all, in one commit; none of them is in another state than the rest."""

import re
from collections.abc import Sequence
from dataclasses import replace

from pgfleet.schema.reservation import FINAL, Status
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.reservations import reservations
from pgfleet.workers.reservation.tools import Turn, ended, hand_out, ticket
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime.outcomes import Advance, Move, Outcome, Send
from pgfleet.workers.runtime.tickets import Step

# What a last move writes of each of its gang as of itself.
ALIKE = frozenset({"failed_at", "cancelled_at", "failure_reason", "current_detailed_status"})
CODE = re.compile(r"([A-Z]+(?:_[A-Z]+)*: )?(.*)", re.DOTALL)


def rows_of_gang(row: Row, view: View) -> Sequence[Row]:
    """All rows of its gang, node by node; of a reservation of one node, itself."""
    return view.gangs.get(row.master_reservation_id) or (row,)


def others(row: Row, view: View) -> list[Row]:
    return [each for each in rows_of_gang(row, view) if each.reservation_id != row.reservation_id]


def nudges(rows: Sequence[Row]) -> tuple[Send, ...]:
    """A turn for each of them, out of turn."""
    return tuple(ticket(row.reservation_id) for row in rows)


def ending_together(step: Step) -> Step:
    """A step whose row takes its gang along when it ends."""

    def taken(row: Row, turn: Turn) -> Outcome:
        return together(step(row, turn), turn.view)

    return taken


def together(outcome: Outcome, view: View) -> Outcome:
    """The same with all other rows of those gangs of which one ends, or is queued; each with its ticket."""
    if not isinstance(outcome, Advance):
        return outcome
    changed = {change.key for change in outcome.changes}
    for move in outcome.changes:
        if not isinstance(move, Move) or move.table is not reservations:
            continue
        for row in others(move.row, view) if move.to in FINAL or move.to == Status.QUEUED else ():
            if row.key not in changed and row.status not in (*FINAL, move.to):
                changed.add(row.key)
                outcome += hand_out(_end_with(row, move, view) if move.to in FINAL else replace(move, row=row))
    return outcome


def _end_with(row: Row, end: Move, view: View) -> Move:
    alike = {name: value for name, value in end.values.items() if name in ALIKE}
    if "failure_reason" in alike:
        alike["failure_reason"] = of_node(end.row, alike["failure_reason"])
    reason = of_node(end.row, end.reason or "") if _is_of_node(end) else end.reason
    return replace(end, row=row, reason=reason, values={**alike, **ended(row, view)})


def _is_of_node(end: Move) -> bool:
    """Whether one node is why all end: a failure, or the loss of its pod; not their time, nor their user."""
    return end.to == Status.FAILED or "failure_reason" in end.values


def of_node(row: Row, reason: str) -> str:
    """A reason as the others of its gang tell it: after its code it says whose it is."""
    code, words = CODE.fullmatch(reason).groups()  # type: ignore[union-attr]  # it matches whatever is written
    return f"{code or ''}node {row.node_index + 1}/{row.total_nodes}: {words}"
