"""The account behind an assignment: made, looked after while it is active, and deactivated when its user has left."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pgfleet.schema.assignment import CloseAccount, Held, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.assignment.failures import failing, resolved
from pgfleet.workers.assignment.line import CODES, FULL, ROOMY, find_seat, unanswered
from pgfleet.workers.assignment.requests import change_cluster
from pgfleet.workers.assignment.tools import Hold, Tools, Turn, cluster_of, hand_out, urgent
from pgfleet.workers.assignment.view import Neighbour, View
from pgfleet.workers.clients.hopsworks.client import (
    REMOTE,
    Account,
    Address,
    BusyError,
    ClusterError,
    Hopsworks,
    KeyRefusedError,
    Person,
    UnreachableError,
)
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Done,
    Move,
    NeverError,
    Outcome,
    RefusedError,
    Send,
    TryAgainError,
    Wait,
    show_reason,
)
from pgfleet.workers.runtime.tickets import withdraw

ACCOUNT = "account"


def create_account(row: Row, turn: Turn) -> Outcome:
    """Creating_user -> active, with the username that the server returns; an account that is there is adopted."""
    cluster = cluster_of(row, turn.view)
    if cluster.status == "inactive":
        return _elsewhere(row, cluster, turn)
    if cluster.status not in (ROOMY, FULL):
        return _put_off(row, Hold(Held.CLUSTER_MAINTENANCE, f"{cluster.name} is in {cluster.status}"), turn)
    user = turn.view.users[row.user_id]
    for other in _neighbours(row.user_id, cluster, turn.view):
        # Of two that come at the same time, the one with the lower id goes on.
        if other.status == Status.ACTIVE or other.user_id < row.user_id:
            raise NeverError(f"another user with the same mailbox is on {cluster.name} already")

    def create(at: Address) -> Advance:
        account = turn.tools.hopsworks.open_account(at, person(user), turn.hold)
        values = _agreed(row, account, at, turn)
        return withdraw(Move(row, Status.ACTIVE, f"{account.username} on {cluster.name}", values))

    return _with_cluster(row, cluster, turn, create)


def _neighbours(user_id: str, cluster: Row, view: View) -> list[Neighbour]:
    """Other users with the same mailbox on the same cluster: they would share the account."""
    return [other for other in view.neighbours.get(user_id, []) if other.cluster_id == str(cluster.id)]


def _elsewhere(row: Row, cluster: Row, turn: Turn) -> Outcome:
    """Its cluster was switched off for good before the account was there."""
    seat = find_seat(row, turn, Counter())
    if isinstance(seat, Row):
        return change_cluster(row, seat)
    return _put_off(row, Hold(Held.CLUSTER_MAINTENANCE, f"{cluster.name} is inactive, and elsewhere: {seat}"), turn)


def person(user: Row) -> Person:
    """Who is to have an account, as the sign-up service knows them."""
    given, _, surname = (user.name or "").strip().partition(" ")
    local = user.email.partition("@")[0]
    return Person(user.id, user.email, given or local, surname.strip() or given or local, user.projects_allowed)


def _agreed(row: Row, account: Account, at: Address, turn: Turn) -> dict[str, Any]:
    """Bring the account to what it should be; what is then written into the row."""
    enabled, most = row.suspended_at is None, turn.view.users[row.user_id].projects_allowed
    there = True
    if account.enabled != enabled:
        there = _change(turn, at, lambda server: server.set_enabled(at, account.account_id, enabled=enabled))
    if there and most not in (account.max_projects, row.max_projects):
        there = _change(turn, at, lambda server: server.set_max_projects(at, account.account_id, most))
    if not there:
        raise TryAgainError("the account was there and is gone again")
    return {
        "hopsworks_user_id": account.account_id,
        "hopsworks_username": account.username,
        "account_enabled": enabled,
        "max_projects": most,
        "checked_at": turn.now,
        "detail": f"{account.username} on {at.name}" + ("" if enabled else ", suspended"),
    }


def _change(turn: Turn, at: Address, change: Callable[[Hopsworks], bool]) -> bool:
    """Change an account of a cluster that has just answered: what fails now is not the cluster's trouble."""
    turn.hold()
    try:
        return change(turn.tools.hopsworks)
    except UnreachableError as error:
        raise TryAgainError(str(error)) from None
    except KeyRefusedError as error:
        if not _answers(at, turn):
            raise
        raise NeverError(str(error)) from None


def tend(row: Row, turn: Turn) -> Outcome:
    """The ticket of an active row: is its account there, and as it should be?

    What was asked for here is written to the server. What somebody has changed there is reported, and left as it is.
    """
    cluster = cluster_of(row, turn.view)
    if cluster.status == "inactive":
        return Done(f"{cluster.name} is inactive")
    user = turn.view.users[row.user_id]

    def look(at: Address) -> Advance:
        account = turn.tools.hopsworks.find(at, user.email)
        problem = _problem(row, account)
        if account is None or problem:
            return _reported(row, cluster, problem or "", turn.view, _untold(row, account, at, turn))
        try:
            values = _agreed(row, account, at, turn)
        except (NeverError, TryAgainError) as error:
            if isinstance(error, (KeyRefusedError, BusyError)):
                raise
            return _reported(row, cluster, f"ACCOUNT_NOT_CHANGED: {error}", turn.view, {})
        return Advance((Move(row, None, values=values), *resolved(turn.view, cluster.id, ACCOUNT, row.user_id)))

    return _with_cluster(row, cluster, turn, look)


def _untold(row: Row, account: Account | None, at: Address, turn: Turn) -> dict[str, Any]:
    """A suspension is written to the account that we know, whatever its e-mail is now; not to one of another type."""
    if row.account_enabled is not None or row.hopsworks_user_id is None:
        return {}
    if account is not None and account.account_id == row.hopsworks_user_id:
        return {"account_enabled": account.enabled}
    enabled = row.suspended_at is None
    _change(turn, at, lambda server: server.set_enabled(at, row.hopsworks_user_id, enabled=enabled))
    return {"account_enabled": enabled}


def _reported(row: Row, cluster: Row, problem: str, view: View, values: dict[str, Any]) -> Advance:
    changes = failing(view, cluster.id, ACCOUNT, problem, row.user_id)
    shown = {**values, "checked_at": view.now, "detail": problem}
    return Advance((Move(row, None, values=shown), *changes))


def _problem(row: Row, account: Account | None) -> str | None:
    if account is None:
        return "ACCOUNT_GONE: the server does not know the account any more; release the user, then assign again"
    if row.hopsworks_user_id not in (None, account.account_id):
        return f"ACCOUNT_CHANGED: the user's e-mail is that of another account now, number {account.account_id}"
    if account.account_type != REMOTE:
        return f"ACCOUNT_TAKEN: the account is now of type {account.account_type}"
    if row.account_enabled is not None and account.enabled != row.account_enabled:
        return f"ACCOUNT_CHANGED: somebody has {'' if account.enabled else 'de'}activated it on the server"
    return None


def close(message: CloseAccount, turn: Turn) -> Outcome:
    """Deactivate what somebody who has left still has on a cluster; only what this program may have made."""
    row, cluster = turn.view.rows.get(message.user_id), turn.view.clusters.get(message.cluster_id)
    if row is None or cluster is None:
        return Done("the cluster is gone")
    if cluster.status == "inactive":
        return Done(f"{cluster.name} is inactive; should it come back, the sweep asks again")
    closed = _closed(message, turn.view)
    if str(row.hopsworks_cluster_id) == message.cluster_id:
        return _open_again(row, closed)
    theirs = {other.account_id for other in _neighbours(row.user_id, cluster, turn.view)}
    if theirs & {message.account_id, None} or (theirs and message.account_id is None):
        return Advance(closed) if closed else Done("the account is that of another user with the same mailbox")
    user = turn.view.users[row.user_id]

    def deactivate(at: Address) -> Advance:
        account = turn.tools.hopsworks.find(at, user.email)
        ours = account.account_id if account and account.account_type == REMOTE else None
        account_id = message.account_id or ours
        is_closed = account is not None and account.account_id == account_id and not account.enabled
        if account_id is not None and not is_closed:
            _change(turn, at, lambda server: server.set_enabled(at, account_id, enabled=False))
        # Written so that an assignment to this cluster that came meanwhile is noticed.
        return Advance((Move(row, None, values={"checked_at": turn.now}), *closed))

    return _with_cluster(None, cluster, turn, deactivate)


def _closed(message: CloseAccount, view: View) -> tuple[Move, ...]:
    asked = view.closings.get((message.user_id, message.cluster_id))
    return () if asked is None else (Move(asked, None, values={"closed_at": view.now}),)


def _open_again(row: Row, closed: tuple[Move, ...]) -> Outcome:
    """Assigned to this cluster again: whatever was deactivated meanwhile is looked at once more."""
    return hand_out(Move(row, None, values={"account_enabled": None})) + Advance(closed)


def _with_cluster(row: Row | None, cluster: Row, turn: Turn, work: Callable[[Address], Advance]) -> Outcome:
    """Call a cluster, unless it is known not to answer; and let all workers know what became of it."""
    hold = unanswered(cluster, turn.view)
    if hold is not None:
        return _put_off(row, hold, turn)
    at = address(cluster, turn.tools)
    try:
        outcome = work(at)
    except ClusterError as error:
        if isinstance(error, UnreachableError) and _answers(at, turn):
            # It answers other calls: then this call failed for another reason than the cluster.
            raise TryAgainError(str(error), then=_answered(cluster, turn)) from None
        return _put_off(row, Hold(CODES[error.kind], str(error)), turn, call_failed(cluster, error, turn))
    except NeverError as error:
        raise RefusedError(str(error), then=_answered(cluster, turn)) from None
    except TryAgainError as error:
        raise TryAgainError(str(error), then=_answered(cluster, turn)) from None
    return replace(outcome, then=(*outcome.then, *_answered(cluster, turn)))


def _answers(at: Address, turn: Turn) -> bool:
    """Whether a cluster answers a call that is about nobody."""
    try:
        turn.tools.hopsworks.probe(at)
    except (TryAgainError, NeverError):
        return False
    return True


def _put_off(row: Row | None, hold: Hold, turn: Turn, *then: Send) -> Outcome:
    """Wait for the cluster; where an active row was only to be checked, leave that to the next sweep."""
    if row is not None and row.status == Status.ACTIVE:
        return Done(str(hold), then)
    settings = turn.tools.settings
    until = turn.later(settings.backoff_s if then else settings.seat_recheck_s)
    return Wait(str(hold), until, show_reason(row, str(hold)) if row is not None else (), then)


def address(cluster: Row, tools: Tools) -> Address:
    metadata = cluster.metadata if isinstance(cluster.metadata, dict) else {}
    client_id = metadata.get("client_id")
    return Address(
        cluster.name,
        cluster.api_url,
        cluster.api_key,
        client_id if isinstance(client_id, str) and client_id else tools.settings.hopsworks_client_id,
    )


def call_failed(cluster: Row, error: ClusterError, turn: Turn) -> Send:
    body = {"action": "call_failed", "cluster_id": str(cluster.id), "kind": error.kind, "reason": str(error)[:1000]}
    return urgent(turn, body if error.after_s is None else {**body, "after_s": error.after_s})


def _answered(cluster: Row, turn: Turn) -> tuple[Send, ...]:
    """A cluster that had failed before has answered: then its failures were not in a row."""
    breaker = turn.view.breakers.get(str(cluster.id))
    if breaker is None or breaker.failures == 0:
        return ()
    return (urgent(turn, {"action": "call_answered", "cluster_id": str(cluster.id)}),)
