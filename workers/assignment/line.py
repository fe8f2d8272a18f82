"""The line for seats: who may have one, on which cluster, and what is shown to the others."""

from collections import Counter
from datetime import timedelta

from pgfleet.schema.assignment import Held, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.assignment.tools import ADMIT, Hold, Turn, hand_out
from pgfleet.workers.assignment.view import LINE_LIMIT, View
from pgfleet.workers.clients.hopsworks.client import dependency_of
from pgfleet.workers.runtime.outcomes import Advance, Calls, Done, Move, Outcome, Wait, wait
from pgfleet.workers.runtime.tickets import withdraw

ROOMY = "active"
FULL = "full"
Taken = Counter[str]


def admit(turn: Turn) -> Outcome:
    """Pending -> creating_user, for the oldest that fit; rows that don't fit hold nobody up.

    The seats are taken in the statement that writes the rows; the database refuses one too many, and then the line is
    looked at again.
    """
    taken: Taken = Counter()
    seated = []
    for row in turn.view.line[:LINE_LIMIT]:
        seat = find_seat(row, turn, taken)
        if isinstance(seat, Row):
            taken[str(seat.id)] += 1
            seated.append((row, seat))
    if not seated:
        return Done("nobody finds a seat")
    # Another look: for the rest of the line, and for those who have waited for their owner.
    more = (
        (ADMIT,)
        if len(turn.view.line) > LINE_LIMIT or any(row.user_id in turn.view.members for row, _ in seated)
        else ()
    )
    return sum((_admission(row, seat, turn.view) for row, seat in seated), Advance()) + Advance(then=more)


def _admission(row: Row, cluster: Row, view: View) -> Advance:
    values = seat_on(cluster, apart=is_apart(row, cluster, view))
    return hand_out(Move(row, Status.CREATING_USER, f"a seat on {cluster.name}", values), cluster.id)


def is_apart(row: Row, cluster: Row, view: View) -> bool:
    """Whether a team member's seat is elsewhere than the owner's: a setting allows that where there is none beside."""
    owner = view.rows.get(view.users[row.user_id].account_owner_id)
    return owner is not None and owner.hopsworks_cluster_id not in (None, cluster.id)


def seat_on(cluster: Row, *, apart: bool) -> dict[str, object]:
    """What is written into a row that takes a seat."""
    return {
        "apart_from_owner": apart,
        "hopsworks_cluster_id": cluster.id,
        "holds_seat": True,
        "wanted_cluster_id": None,
        "hopsworks_username": None,
        "hopsworks_user_id": None,
        "account_enabled": None,
        "max_projects": None,
        "detail": f"Creating the account on {cluster.name}",
    }


def find_seat(row: Row, turn: Turn, taken: Taken) -> Row | Hold:
    """The cluster that has a seat for a row, besides those `taken` already; or why it has to wait."""
    if row.suspended_at is not None:
        return Hold(Held.SUSPENDED, "no account is made for a suspended user")
    user = turn.view.users[row.user_id]
    if user.account_owner_id is not None:
        return _beside_owner(user, turn, taken)
    if row.wanted_cluster_id is not None:
        return _on(turn.view.clusters[str(row.wanted_cluster_id)], turn, taken)
    return _least_loaded(turn, taken)


def _beside_owner(user: Row, turn: Turn, taken: Taken) -> Row | Hold:
    owner = turn.view.rows.get(user.account_owner_id)
    if owner is None or owner.hopsworks_cluster_id is None:
        return Hold(Held.OWNER_NOT_ASSIGNED, "the owner of the account has no cluster yet")
    if owner.suspended_at is not None:
        return Hold(Held.SUSPENDED, "the owner of the account is suspended")
    seat = _on(turn.view.clusters[str(owner.hopsworks_cluster_id)], turn, taken)
    if turn.tools.settings.members_overflow and isinstance(seat, Hold) and seat.code == Held.CLUSTER_FULL:
        return _least_loaded(turn, taken)
    return seat


def _on(cluster: Row, turn: Turn, taken: Taken) -> Row | Hold:
    if cluster.status not in (ROOMY, FULL):
        return Hold(Held.CLUSTER_MAINTENANCE, f"{cluster.name} is in {cluster.status}: it takes no new users")
    hold = unanswered(cluster, turn)
    if hold is not None:
        return hold
    if _free(cluster, taken) > 0:
        return cluster
    return Hold(Held.CLUSTER_FULL, f"all {cluster.max_users or 0} seats of {cluster.name} are taken")


def _least_loaded(turn: Turn, taken: Taken) -> Row | Hold:
    in_use = [cluster for cluster in turn.view.clusters.values() if cluster.status in (ROOMY, FULL)]
    if not in_use:
        return Hold(Held.NO_CLUSTER, "no Hopsworks cluster is active")
    answering = [cluster for cluster in in_use if unanswered(cluster, turn) is None]
    free = [cluster for cluster in answering if _free(cluster, taken) > 0]
    if free:
        return min(free, key=lambda cluster: ((cluster.current_users or 0) + taken[str(cluster.id)], str(cluster.id)))
    silent = [cluster for cluster in in_use if cluster not in answering and _free(cluster, taken) > 0]
    for hold in (unanswered(cluster, turn) for cluster in silent):
        if hold is not None:
            return hold
    return Hold(Held.CLUSTER_FULL, f"no free seat on any of {len(in_use)} clusters")


def unanswered(cluster: Row, turn: Turn) -> Hold | None:
    """Why a cluster should not be called now; None if it may be."""
    trouble = turn.trouble(dependency_of(cluster.id), Calls.READ)
    return None if trouble is None else Hold(Held(trouble.code), str(trouble))


def _free(cluster: Row, taken: Taken) -> int:
    if cluster.current_users is None:
        # Its seats have not been counted yet: the sweep will.
        return 0
    free: int = (cluster.max_users or 0) - cluster.current_users - taken[str(cluster.id)]
    return free


def wait_in_line(row: Row, turn: Turn) -> Outcome:
    """The ticket of a waiting row: it shows why it waits, is given up without an owner; else the line is looked at."""
    if row.hopsworks_cluster_id is not None:
        # It moves here; or another service has written the row, and counted its seat.
        why = "its seat is taken" if row.holds_seat else "its seat was taken by another service"
        values = {"holds_seat": True, "detail": "Looking for the account"}
        return hand_out(Move(row, Status.CREATING_USER, why, values))
    settings = turn.tools.settings
    until = turn.later(settings.seat_recheck_s)
    seat = find_seat(row, turn, Counter())
    if isinstance(seat, Row):
        return Wait("in line", until, then=(ADMIT,))
    # Each reason has a wait of its own: the time for an owner, say, begins when a seat is no longer what is missing.
    same = row.waits_since is None or (row.detail or "").startswith(seat.code)
    waits_since = (row.waits_since or row.status_since) if same else turn.now
    waited = turn.now - waits_since
    if seat.code == Held.OWNER_NOT_ASSIGNED and waited > timedelta(seconds=settings.owner_wait_s):
        reason = f"{seat}; waited {settings.owner_wait_s / 3600:g} hours for it"
        values = {"failed_at": turn.now, "detail": reason}
        return withdraw(Move(row, Status.FAILED, reason, values))
    values = {} if waits_since == row.waits_since else {"waits_since": waits_since}
    return wait(row, str(seat), until, **values)
