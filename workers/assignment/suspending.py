"""Suspensions: a user's own, and with an owner's that of the team. The account follows with the row's next ticket."""

from datetime import timedelta
from typing import Any

from pgfleet.schema.assignment import FINAL, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.assignment.tools import ADMIT, Turn, hand_out, is_late
from pgfleet.workers.assignment.view import View
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, Outcome, Send

# A suspension that is asked for again within this time is told to nobody again.
REPEATED = timedelta(seconds=60)


def suspend(row: Row, turn: Turn) -> Outcome:
    """Whoever suspends an owner suspends the team; one's own suspension outlives the owner's."""
    if is_late(turn, row.suspension_asked_at):
        return Done("late: the user was reactivated after it was sent")
    values = {"suspended_at": row.suspended_at or turn.now, "suspended_for": row.user_id}
    return _suspension(row, values, turn, "suspend_member")


def suspend_member(row: Row, turn: Turn) -> Outcome:
    """A team member is suspended with the owner, if not by themselves already."""
    owner = _owner(row, turn.view)
    if owner is None or owner.suspended_at is None:
        return Done("the owner of the account is not suspended")
    if is_late(turn, row.suspension_asked_at):
        return Done("late: the user was reactivated after it was sent")
    alone = row.suspended_at is not None and row.suspended_for == row.user_id
    for_whom = row.user_id if alone else owner.user_id
    return _suspension(row, {"suspended_at": row.suspended_at or turn.now, "suspended_for": for_whom}, turn)


def reactivate(row: Row, turn: Turn) -> Outcome:
    """Lifts a suspension; a team member stays suspended while the owner is."""
    if is_late(turn, row.suspension_asked_at):
        return Done("late: the user was suspended after it was sent")
    owner = _owner(row, turn.view)
    if owner is not None and owner.suspended_at is not None:
        values: dict[str, Any] = {"suspended_for": owner.user_id}
    else:
        values = {"suspended_at": None, "suspended_for": None}
    return _suspension(row, values, turn, "reactivate_member")


def reactivate_member(row: Row, turn: Turn) -> Outcome:
    """Lifts the suspension of a team member that came with the owner's, which is over; not one of their own."""
    if is_late(turn, row.suspension_asked_at):
        return Done("late: the user was suspended after it was sent")
    owner = _owner(row, turn.view)
    if owner is not None and owner.suspended_at is not None:
        return Done("the owner of the account is suspended")
    if owner is None or row.suspended_for != owner.user_id:
        # Noted: a suspension that was sent before this message, and comes after, is late.
        return Advance((Move(row, None, values={"suspension_asked_at": turn.sent_at}),), (ADMIT,))
    return _suspension(row, {"suspended_at": None, "suspended_for": None}, turn)


def _owner(row: Row, view: View) -> Row | None:
    return view.rows.get(view.users[row.user_id].account_owner_id)


def _suspension(row: Row, values: dict[str, Any], turn: Turn, for_members: str | None = None) -> Outcome:
    noted = {"suspension_asked_at": turn.sent_at}
    if _is_repeated(row, values, turn):
        return Advance((Move(row, None, values=noted),))
    members = turn.view.members.get(row.user_id, []) if for_members else []
    then = tuple(Send({"action": for_members, "user_id": member}) for member in members)
    changed = {**values, **noted, "account_enabled": None}
    if row.status in FINAL:
        return Advance((Move(row, None, values=changed),), then)
    line = (ADMIT,) if row.status == Status.PENDING else ()
    return Advance(then=then) + hand_out(Move(row, None, values=changed)) + Advance(then=line)


def _is_repeated(row: Row, values: dict[str, Any], turn: Turn) -> bool:
    """Whether the same was asked a moment ago: the account and the team were told, and need not be once more."""
    if row.suspension_asked_at is None or turn.sent_at - row.suspension_asked_at > REPEATED:
        return False
    return all(row[name] == value for name, value in values.items())
