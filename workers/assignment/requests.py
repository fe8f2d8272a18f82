"""What is asked about users: assign, release, suspend, reactivate, and to drain a cluster.

No step here leaves the database: the accounts follow with the row's next ticket, or with a message of their own.
"""

from datetime import datetime, timedelta
from typing import Any

from pgfleet.schema.assignment import (
    FINAL,
    WAITING,
    Assign,
    Drain,
    Reactivate,
    Release,
    Request,
    Status,
    Suspend,
    row_id,
)
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables import user_hopsworks_assignments
from pgfleet.workers.assignment.line import FULL, ROOMY, Taken, find_seat, seat_on
from pgfleet.workers.assignment.tools import ADMIT, Tools, Turn, cluster_of, next_ticket, ticket, told
from pgfleet.workers.assignment.view import PAGE, View
from pgfleet.workers.runtime.kind import Occasion
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, New, Outcome, Reject, Send, Wait, advance

# The reason is told a moment after the line has been looked at, unless it has found a seat by then.
TELL_S = 1.0


def assign(message: Assign, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    """(new) -> pending, and again from released and failed. Whoever is assigned already stays so."""
    if message.user_id not in view.users:
        return _patience(f"there is no user {message.user_id} in hopsworks.users", view, tools, occasion)
    problem = _misfit(message, view)
    if problem:
        return Reject(problem)
    row = view.rows.get(message.user_id)
    if row is None:
        values = {
            "id": row_id(message.user_id),
            "user_id": message.user_id,
            "ticket": 1,
            **_asked(message, view, occasion),
        }
        new = New(user_hopsworks_assignments, Status.PENDING, "assigned", values)
        return Advance((new,), then=_into_line(message.user_id, 1, view))
    if _is_late(occasion, row.asked_at):
        return Done(f"late: it was sent before what made the row {row.status}")
    if row.status in FINAL:
        values = {"ticket": row.ticket + 1, "released_at": None, "failed_at": None, "hopsworks_username": None}
        again = _into_line(row.user_id, row.ticket + 1, view)
        return advance(row, Status.PENDING, "assigned again", {**values, **_asked(message, view, occasion)}, again)
    return _assigned_already(message, row, view, occasion)


def _assigned_already(message: Assign, row: Row, view: View, occasion: Occasion) -> Outcome:
    seated = row.hopsworks_cluster_id is not None
    if seated and message.cluster_id is not None and message.cluster_id != str(row.hopsworks_cluster_id):
        return Reject(f"cluster_id: {row.user_id} is on {cluster_of(row, view).name} already; release the user first")
    same = seated or str(row.wanted_cluster_id or "") == (message.cluster_id or "")
    if row.status != Status.PENDING or (row.ticket != 0 and same):
        return Done(f"known already, {row.status}")
    # Somebody else may have inserted the row; or another cluster is named now.
    values = {"ticket": row.ticket + 1, **_asked(message, view, occasion)}
    then = (next_ticket(row),) if seated else _into_line(row.user_id, row.ticket + 1, view)
    return Advance((Move(row, None, values=values),), then)


def _asked(message: Assign, view: View, occasion: Occasion) -> dict[str, Any]:
    is_member = view.users[message.user_id].account_owner_id is not None
    by_default = "team_member_auto" if is_member else "admin" if message.cluster_id else "system"
    return {
        "assigned_at": occasion.sent_at,
        "asked_at": occasion.sent_at,
        "assigned_by": message.assigned_by or by_default,
        "wanted_cluster_id": None if is_member else message.cluster_id,
        "detail": WAITING,
        "waits_since": None,
    }


def _into_line(user_id: str, number: int, view: View) -> tuple[Send, ...]:
    told_at = view.now + timedelta(seconds=TELL_S)
    # One look that nobody has taken up yet sees this row too.
    return (*(() if view.admit_is_due else (ADMIT,)), ticket(user_id, number, told_at))


def _misfit(message: Assign, view: View) -> str | None:
    if message.cluster_id is None:
        return None
    cluster = view.clusters.get(message.cluster_id)
    if cluster is None:
        return f"cluster_id: there is no Hopsworks cluster {message.cluster_id}; see `pgfleet hopsworks`"
    if cluster.status == "inactive":
        return f"cluster_id: {cluster.name} is inactive"
    owner_id = view.users[message.user_id].account_owner_id
    owner = view.rows.get(owner_id)
    if owner_id is not None and (owner is None or str(owner.hopsworks_cluster_id) != message.cluster_id):
        return "cluster_id: a team member goes to the owner's cluster; leave it out"
    return None


def _is_late(occasion: Occasion, asked_at: datetime | None) -> bool:
    return asked_at is not None and occasion.sent_at < asked_at


def _patience(problem: str, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    """What is not known may be on its way; after a while it is not."""
    until = occasion.sent_at + timedelta(seconds=tools.settings.unknown_row_s)
    return Wait(problem, until) if view.now < until else Reject(problem)


def request(message: Request, view: View, tools: Tools, occasion: Occasion) -> Outcome:
    """What is asked of a row that has to be there."""
    row = view.rows.get(message.user_id)
    match message:
        case _ if row is None:
            return _patience(f"user {message.user_id} has no assignment", view, tools, occasion)
        case Release():
            return release(row, message.reason, view, occasion)
        case Suspend():
            return suspend(row, message, view, occasion)
        case Reactivate():
            return reactivate(row, message, view, occasion)
        case _:
            return Reject(f"{type(message).__name__} is no message of this queue")


def release(row: Row, why: str, view: View, occasion: Occasion) -> Outcome:
    """Active -> released; one that never became active -> failed. Either way the seat is free at once."""
    if _is_late(occasion, row.asked_at):
        return Done("late: the user was assigned again after it was sent")
    asked = {"asked_at": occasion.sent_at}
    if row.status in FINAL:
        # So that an assign which was sent before, and comes after, is late.
        return Advance((Move(row, None, values=asked),))
    return Advance((_departure(row, why, view, asked),))


def _departure(row: Row, why: str, view: View, values: dict[str, Any]) -> Move:
    """The end of a live assignment; the database gives its seat back, and asks for its account to be closed."""
    if row.status == Status.ACTIVE:
        to, ended = Status.RELEASED, {"released_at": view.now}
        reason = f"released from {cluster_of(row, view).name} ({row.hopsworks_username}): {why}"
    else:
        to, ended = Status.FAILED, {"failed_at": view.now}
        reason = f"released before it was active: {why}"
    changed = {**ended, **values, "detail": reason, "ticket": row.ticket + 1, "wanted_cluster_id": None}
    return Move(row, to, reason, changed)


def suspend(row: Row, message: Suspend, view: View, occasion: Occasion) -> Outcome:
    """Whoever suspends an owner suspends the team; one's own suspension outlives the owner's."""
    if _is_late(occasion, row.suspension_asked_at):
        return Done("late: the user was reactivated after it was sent")
    for_whom = message.suspended_for or row.user_id
    if row.suspended_at is not None and row.suspended_for == row.user_id:
        for_whom = row.user_id
    values = {"suspended_at": row.suspended_at or view.now, "suspended_for": for_whom}
    return _suspension(row, message, values, view, occasion)


def reactivate(row: Row, message: Reactivate, view: View, occasion: Occasion) -> Outcome:
    """Lifts a suspension; of a team member that was suspended alone, not by the owner's message."""
    if _is_late(occasion, row.suspension_asked_at):
        return Done("late: the user was suspended after it was sent")
    if message.suspended_for is not None and row.suspended_for != message.suspended_for:
        # Not suspended with its owner. Noted, so that a suspension which was sent before, and comes after, is late.
        return Advance((Move(row, None, values={"suspension_asked_at": occasion.sent_at}),), (ADMIT,))
    owner = view.rows.get(view.users[row.user_id].account_owner_id)
    if message.suspended_for is None and owner is not None and owner.suspended_at is not None:
        return _suspension(row, message, {"suspended_for": owner.user_id}, view, occasion)
    return _suspension(row, message, {"suspended_at": None, "suspended_for": None}, view, occasion)


def _suspension(
    row: Row, message: Suspend | Reactivate, values: dict[str, Any], view: View, occasion: Occasion
) -> Outcome:
    cascade = [] if message.suspended_for else view.members.get(row.user_id, [])
    body = {"action": message.action, "suspended_for": row.user_id}
    then = tuple(Send({**body, "user_id": member}) for member in cascade)
    changed = {**values, "suspension_asked_at": occasion.sent_at, "account_enabled": None}
    if row.status in FINAL:
        return Advance((Move(row, None, values=changed),), then)
    line = (ADMIT,) if row.status == Status.PENDING else ()
    return Advance((Move(row, None, values={**changed, "ticket": row.ticket + 1}),), (*then, next_ticket(row), *line))


def drain(message: Drain, turn: Turn) -> Outcome:
    """A page of a cluster's users: as many leave as there are seats elsewhere; the others are looked at again."""
    cluster = turn.view.clusters.get(message.cluster_id)
    if cluster is None:
        return Reject(f"cluster_id: there is no Hopsworks cluster {message.cluster_id}; see `pgfleet hopsworks`")
    if cluster.status in (ROOMY, FULL):
        return Done(f"{cluster.name} takes new users again")
    if any(number > turn.occasion.msg_id for number in turn.view.drains.get(message.cluster_id, [])):
        return Done("another drain of this cluster is on its way")
    page, taken = turn.view.pages[message], Taken()
    changes: list[Move] = []
    sends: list[Send] = []
    stays = message.somebody_stays
    for row in (turn.view.rows[user_id] for user_id in page):
        seat = find_seat(row, turn.view, turn.tools, taken)
        if isinstance(seat, Row) and row.status in (Status.ACTIVE, Status.CREATING_USER):
            taken[str(seat.id)] += 1
            changes.append(_elsewhere(row, seat, turn.view))
            sends.append(next_ticket(row, seat.id))
        else:
            stays = True
            changes += told(row, f"Stays on {cluster.name} until there is a seat elsewhere: {seat}")
    sends += _next_page(message, page, turn, stays=stays)
    return Advance(tuple(changes), tuple(sends)) if changes else Done(f"{len(page)} looked at", tuple(sends))


def _next_page(message: Drain, page: list[str], turn: Turn, *, stays: bool) -> tuple[Send, ...]:
    """The rest; after the last page those who stay, from the beginning."""
    if len(page) == PAGE:
        return (Send({**message.model_dump(), "after": page[-1], "somebody_stays": stays}),)
    again = turn.later(turn.tools.settings.seat_recheck_s)
    return (Send({"action": "drain", "cluster_id": message.cluster_id}, again),) if stays else ()


def _elsewhere(row: Row, seat: Row, view: View) -> Move:
    """An account that is still being made is made elsewhere; who is active goes through the machine, in one commit."""
    if row.status == Status.CREATING_USER:
        return change_cluster(row, seat)
    return _departure(row, "its cluster is drained", view, {"moves_to_cluster_id": seat.id})


def change_cluster(row: Row, seat: Row) -> Move:
    """The seats are exchanged in one statement."""
    return Move(row, None, values={**seat_on(seat), "ticket": row.ticket + 1})
