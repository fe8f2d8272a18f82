"""What is asked about users: assign, release, suspend, reactivate, and to drain a cluster.

No step here leaves the database: the accounts follow with the row's next ticket, or with a message of their own.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from pgfleet.schema.assignment import (
    FINAL,
    WAITING,
    Assign,
    Drain,
    DrainPage,
    Follow,
    Reactivate,
    ReactivateMember,
    Release,
    Request,
    Status,
    Suspend,
    SuspendMember,
    row_id,
)
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.hopsworks import user_hopsworks_assignments
from pgfleet.workers.assignment.line import FULL, ROOMY, Taken, find_seat, is_apart, seat_on
from pgfleet.workers.assignment.suspending import reactivate, reactivate_member, suspend, suspend_member
from pgfleet.workers.assignment.tools import ADMIT, Turn, cluster_of, follow_message, hand_out, is_late, ticket
from pgfleet.workers.assignment.view import PAGE, View
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, New, Outcome, Reject, Send, Wait, show_reason
from pgfleet.workers.runtime.tickets import withdraw

# How the details of those begin who can't go where they are to go.
STAYS = "Stays on"
APART = "Not with the owner of the account, who is on"
SEATED = (Status.CREATING_USER, Status.ACTIVE)
# The reason is shown a moment after the line has been looked at, unless the row has found a seat by then.
SHOWN_AFTER_S = 1.0


def assign(message: Assign, turn: Turn) -> Outcome:
    """(new) -> pending, and again from released and failed. Whoever is assigned already stays so."""
    if message.user_id not in turn.view.users:
        return _patience(f"there is no user {message.user_id} in hopsworks.users", turn)
    problem = _misfit(message, turn.view)
    if problem:
        return Reject(problem)
    row = turn.view.rows.get(message.user_id)
    if row is None:
        values = {
            "id": row_id(message.user_id),
            "user_id": message.user_id,
            "ticket": 1,
            **_asked(message, turn),
        }
        new = New(user_hopsworks_assignments, Status.PENDING, "assigned", values)
        first = ticket(message.user_id, 1, at=turn.later(SHOWN_AFTER_S))
        return Advance((new,), (*_look_at_line(turn.view), first))
    if is_late(turn, row.asked_at):
        return Done(f"late: it was sent before what made the row {row.status}")
    if row.status in FINAL:
        values = {"released_at": None, "failed_at": None, "hopsworks_username": None, **_asked(message, turn)}
        return _into_line(Move(row, Status.PENDING, "assigned again", values), turn)
    return _assigned_already(message, row, turn)


def _assigned_already(message: Assign, row: Row, turn: Turn) -> Outcome:
    seated = row.hopsworks_cluster_id is not None
    if seated and message.cluster_id is not None and message.cluster_id != str(row.hopsworks_cluster_id):
        return Reject(
            f"cluster_id: {row.user_id} is on {cluster_of(row, turn.view).name} already; release the user first"
        )
    same = seated or str(row.wanted_cluster_id or "") == (message.cluster_id or "")
    if row.status != Status.PENDING or (row.ticket != 0 and same):
        return Done(f"known already, {row.status}")
    # Somebody else may have inserted the row; or another cluster is named now.
    asked = Move(row, None, values=_asked(message, turn))
    return hand_out(asked) if seated else _into_line(asked, turn)


def _asked(message: Assign, turn: Turn) -> dict[str, Any]:
    is_member = turn.view.users[message.user_id].account_owner_id is not None
    by_default = "team_member_auto" if is_member else "admin" if message.cluster_id else "system"
    return {
        "assigned_at": turn.sent_at,
        "asked_at": turn.sent_at,
        "assigned_by": message.assigned_by or by_default,
        "wanted_cluster_id": UUID(message.cluster_id) if message.cluster_id and not is_member else None,
        "detail": WAITING,
        "waits_since": None,
    }


def _into_line(move: Move, turn: Turn) -> Advance:
    return Advance(then=_look_at_line(turn.view)) + hand_out(move, at=turn.later(SHOWN_AFTER_S))


def _look_at_line(view: View) -> tuple[Send, ...]:
    """Not asked for where a look is queued already: it sees this row, too."""
    return () if view.admit_is_due else (ADMIT,)


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


def _patience(problem: str, turn: Turn) -> Outcome:
    """Wait a while for a row that is not known yet: the message that makes it may be on its way."""
    until = turn.sent_at + timedelta(seconds=turn.tools.settings.unknown_row_s)
    return Wait(problem, until) if turn.now < until else Reject(problem)


def request(message: Request, turn: Turn) -> Outcome:
    """A request about a row, which has to exist."""
    row = turn.view.rows.get(message.user_id)
    match message:
        case _ if row is None:
            return _patience(f"user {message.user_id} has no assignment", turn)
        case Release():
            return release(row, message.reason, turn)
        case Suspend():
            return suspend(row, turn)
        case Reactivate():
            return reactivate(row, turn)
        case SuspendMember():
            return suspend_member(row, turn)
        case ReactivateMember():
            return reactivate_member(row, turn)
        case _:
            return Reject(f"{type(message).__name__} is no message of this queue")


def release(row: Row, why: str, turn: Turn) -> Outcome:
    """Active -> released; one that never became active -> failed. Either way the seat is free at once."""
    if is_late(turn, row.asked_at):
        return Done("late: the user was assigned again after it was sent")
    asked = {"asked_at": turn.sent_at}
    if row.status in FINAL:
        # An assign that was sent before this message, and comes after it, is late.
        return Advance((Move(row, None, values=asked),))
    return withdraw(_departure(row, why, turn.view, asked))


def _departure(row: Row, why: str, view: View, values: dict[str, Any]) -> Move:
    """The end of a live assignment; the database gives its seat back, and asks for its account to be closed."""
    if row.status == Status.ACTIVE:
        to, ended = Status.RELEASED, {"released_at": view.now}
        reason = f"released from {cluster_of(row, view).name} ({row.hopsworks_username}): {why}"
    else:
        to, ended = Status.FAILED, {"failed_at": view.now}
        reason = f"released before it was active: {why}"
    return Move(row, to, reason, {**ended, **values, "detail": reason, "wanted_cluster_id": None})


def drain(message: Drain | DrainPage, turn: Turn) -> Outcome:
    """A page of a cluster's users: as many leave as there are seats elsewhere; the others are looked at again."""
    cluster = turn.view.clusters.get(message.cluster_id)
    if cluster is None:
        return Reject(f"cluster_id: there is no Hopsworks cluster {message.cluster_id}; see `pgfleet hopsworks`")
    if any(number > turn.msg_id for number in turn.view.drains.get(message.cluster_id, [])):
        return Done("another drain of this cluster is on its way")
    if cluster.status in (ROOMY, FULL):
        return _all_stay(message, cluster, turn)
    page, taken = turn.view.pages[message], Taken()
    moved = Advance()
    stays = isinstance(message, DrainPage) and message.somebody_stays
    for row in (turn.view.rows[user_id] for user_id in page):
        seat = find_seat(row, turn, taken)
        if isinstance(seat, Row) and row.status in (Status.ACTIVE, Status.CREATING_USER):
            taken[str(seat.id)] += 1
            moved += _elsewhere(row, seat, turn.view, "its cluster is drained")
        else:
            stays = True
            moved += Advance(show_reason(row, f"{STAYS} {cluster.name} until there is a seat elsewhere: {seat}"))
    moved += Advance(then=_next_page(message, page, turn, stays=stays))
    return moved if moved.changes else Done(f"{len(page)} looked at", moved.then)


def _next_page(message: Drain | DrainPage, page: list[str], turn: Turn, *, stays: bool) -> tuple[Send, ...]:
    """The drain of the next page; after the last page, one of those who had to stay, a while later."""
    if len(page) == PAGE:
        following = DrainPage(cluster_id=message.cluster_id, after=page[-1], somebody_stays=stays)
        return (Send(following.model_dump()),)
    again = turn.later(turn.tools.settings.seat_recheck_s)
    return (Send({"action": "drain", "cluster_id": message.cluster_id}, again),) if stays else ()


def _all_stay(message: Drain | DrainPage, cluster: Row, turn: Turn) -> Outcome:
    """The cluster takes users again, so nobody has to leave; but members whose owner has left already follow."""
    page = turn.view.pages[message]
    told = [row for row in map(turn.view.rows.__getitem__, page) if (row.detail or "").startswith(STAYS)]
    shown = sum((Advance(show_reason(row, _at_rest(row, cluster))) for row in told), Advance())
    then = tuple(follow_message(row.user_id) for row in told if is_apart(row, cluster, turn.view))
    if len(page) == PAGE:
        then += _next_page(message, page, turn, stays=False)
    if shown.changes:
        return shown + Advance(then=then)
    return Done(f"{cluster.name} takes new users again", then)


def _at_rest(row: Row, cluster: Row) -> str:
    who = row.hopsworks_username or "Creating the account"
    return f"{who} on {cluster.name}" + (", suspended" if row.suspended_at else "")


def follow(message: Follow, turn: Turn) -> Outcome:
    """A team member goes to the cluster that the owner is on, when there is a seat; until then its row says why not."""
    row, user = turn.view.rows.get(message.user_id), turn.view.users.get(message.user_id)
    owner = turn.view.rows.get(user.account_owner_id) if user is not None else None
    if (
        row is None
        or owner is None
        or row.status not in SEATED
        or owner.status != Status.ACTIVE
        or row.apart_from_owner
    ):
        return Done("there is nobody to follow now")
    if row.hopsworks_cluster_id == owner.hopsworks_cluster_id:
        return Done("they are together")
    seat = find_seat(row, turn, Taken())
    if not isinstance(seat, Row):
        there = turn.view.clusters[str(owner.hopsworks_cluster_id)].name
        shown = f"{APART} {there}, until there is a seat: {seat}"
        return Advance(show_reason(row, shown)) if row.detail != shown else Done(shown)
    if seat.id != owner.hopsworks_cluster_id:
        # The owner's cluster is full, and a setting lets members be elsewhere.
        return Advance((Move(row, None, values={"apart_from_owner": True}),))
    return _elsewhere(row, seat, turn.view, "to be with the owner of the account")


def _elsewhere(row: Row, seat: Row, view: View, why: str) -> Advance:
    """An account that is being made is made elsewhere; who is active leaves and is assigned again in one commit."""
    if row.status == Status.CREATING_USER:
        return change_cluster(row, seat, view)
    goes = {"moves_to_cluster_id": seat.id, "apart_from_owner": is_apart(row, seat, view)}
    return hand_out(_departure(row, why, view, goes), seat.id)


def change_cluster(row: Row, seat: Row, view: View) -> Advance:
    """The seats are exchanged in one statement."""
    return hand_out(Move(row, None, values=seat_on(seat, apart=is_apart(row, seat, view))), seat.id)
