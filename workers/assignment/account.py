"""The account behind an assignment: made, and looked after while it is active."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from pgfleet.schema.assignment import Held, Status
from pgfleet.schema.printable import printable
from pgfleet.schema.rows.row import Row
from pgfleet.workers.assignment.failures import failing, resolved
from pgfleet.workers.assignment.line import FULL, ROOMY, find_seat
from pgfleet.workers.assignment.requests import change_cluster
from pgfleet.workers.assignment.tools import Hold, Tools, Turn, cluster_of
from pgfleet.workers.assignment.view import Neighbour, View
from pgfleet.workers.clients.hopsworks.client import (
    REMOTE,
    Account,
    Address,
    Hopsworks,
    KeyRefusedError,
    Person,
    UnreachableError,
    adopted,
)
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Calls,
    Done,
    Move,
    NeverError,
    NotNowError,
    Outcome,
    RefusedError,
    TryAgainError,
    wait,
)
from pgfleet.workers.runtime.tickets import withdraw

ACCOUNT = "account"
# It becomes a part of an address.
NAME_LENGTH = 1000


def create_account(row: Row, turn: Turn) -> Outcome:
    """Creating_user -> active, with the username that the server returns; an account that is there is adopted."""
    cluster = cluster_of(row, turn.view)
    if cluster.status == "inactive":
        return _elsewhere(row, cluster, turn)
    if cluster.status not in (ROOMY, FULL):
        return _put_off(row, Hold(Held.CLUSTER_MAINTENANCE, f"{cluster.name} is in {cluster.status}"), turn)
    user = turn.view.users[row.user_id]
    for other in neighbours(row.user_id, cluster, turn.view):
        # Of two that come at the same time, the one with the lower id goes on.
        if other.status == Status.ACTIVE or other.user_id < row.user_id:
            raise NeverError(f"another user with the same mailbox is on {cluster.name} already")

    def create(at: Address) -> Advance:
        account, gone = _former(row, at, turn)
        if account is None:
            account = turn.tools.hopsworks.open_account(at, person(user), turn.hold)
            _refuse_anothers(row.user_id, account, at, turn.view)
        values = _agreed(row, account, at, turn)
        return withdraw(Move(row, Status.ACTIVE, f"{account.username} on {cluster.name}{gone}", values))

    return with_cluster(row, cluster, turn, create)


def _former(row: Row, at: Address, turn: Turn) -> tuple[Account | None, str]:
    """The account that the user had on this cluster before, whoever has its e-mail now; what to say if it is gone."""
    left = turn.view.closings.get((row.user_id, at.cluster_id))
    if left is None or left.hopsworks_user_id is None:
        return None, ""
    account = turn.tools.hopsworks.account(at, left.hopsworks_user_id)
    if account is None or not is_theirs(account, left.hopsworks_username, turn.view.users[row.user_id]):
        what = "is gone" if account is None else "is somebody else's now"
        return None, f"; account number {left.hopsworks_user_id}, which they had there before, {what}"
    return adopted(at, account), ""


def is_theirs(account: Account, username: str | None, user: Row) -> bool:
    """Whether a number still stands for a user's account: on a server that was set up anew it may be another's.

    A server never changes a username; what has the user's e-mail is theirs, too.
    """
    return account.username == username or account.has_email(user.email)


def _refuse_anothers(user_id: str, account: Account, at: Address, view: View) -> None:
    """Raise NeverError where the account with the user's e-mail is by its number that of another user of ours."""
    if is_anothers(user_id, account, at, view):
        raise NeverError(f"the account with this e-mail on {at.name}, number {account.account_id}, is another user's")


def is_anothers(user_id: str, account: Account, at: Address, view: View) -> bool:
    return view.holders.get((at.cluster_id, account.account_id), user_id) != user_id


def neighbours(user_id: str, cluster: Row, view: View) -> list[Neighbour]:
    """Other users with the same mailbox on the same cluster: they would share the account."""
    return [other for other in view.neighbours.get(user_id, []) if other.cluster_id == str(cluster.id)]


def _elsewhere(row: Row, cluster: Row, turn: Turn) -> Outcome:
    """Its cluster was switched off for good before the account was there."""
    seat = find_seat(row, turn, Counter())
    if isinstance(seat, Row):
        return change_cluster(row, seat, turn.view)
    return _put_off(row, Hold(Held.CLUSTER_MAINTENANCE, f"{cluster.name} is inactive, and elsewhere: {seat}"), turn)


def person(user: Row) -> Person:
    """Who is to have an account, as the sign-up service knows them."""
    given, _, surname = printable(user.name)[:NAME_LENGTH].partition(" ")
    local = user.email.partition("@")[0]
    return Person(user.id, user.email, given or local, surname.strip() or given or local, user.projects_allowed)


def _agreed(row: Row, account: Account, at: Address, turn: Turn) -> dict[str, Any]:
    """Bring the account to what it should be; what is then written into the row."""
    user = turn.view.users[row.user_id]
    enabled, most = row.suspended_at is None, user.projects_allowed
    there = True
    if account.enabled != enabled:
        there = change_account(turn, at, lambda server: server.set_enabled(at, account.account_id, enabled=enabled))
    if there and most not in (account.max_projects, row.max_projects):
        there = change_account(turn, at, lambda server: server.set_max_projects(at, account.account_id, most))
    if not there:
        raise TryAgainError("the account was there and is gone again")
    return {
        "hopsworks_user_id": account.account_id,
        "hopsworks_username": account.username,
        "account_enabled": enabled,
        "max_projects": most,
        "checked_at": turn.now,
        "detail": f"{account.username} on {at.name}{_other_email(account, user)}" + ("" if enabled else ", suspended"),
    }


def _other_email(account: Account, user: Row) -> str:
    return "" if account.has_email(user.email) else f", where the e-mail is {account.email}"


def change_account(turn: Turn, at: Address, change: Callable[[Hopsworks], bool]) -> bool:
    """Change an account of a cluster that has just answered: if it still does, what fails now is not its trouble.

    Raises:
        TryAgainError: this change alone was not answered.
        NeverError: our key may not do this.
        NotNowError: the cluster does not answer any more.
    """
    turn.hold()
    try:
        return change(turn.tools.hopsworks)
    except (UnreachableError, KeyRefusedError) as error:
        if turn.trouble(at.dependency, Calls.READ):
            raise
        final = isinstance(error, KeyRefusedError)
        raise (NeverError if final else TryAgainError)(str(error)) from None


def tend(row: Row, turn: Turn) -> Outcome:
    """The ticket of an active row: is its account there, and as it should be?

    What was asked for here is written to the server. What somebody has changed there is reported, and left as it is.
    """
    cluster = cluster_of(row, turn.view)
    if cluster.status == "inactive":
        return Done(f"{cluster.name} is inactive")
    user = turn.view.users[row.user_id]

    def look(at: Address) -> Advance:
        account = found = turn.tools.hopsworks.find(at, user.email)
        known = row.hopsworks_user_id
        if known is not None and (found is None or found.account_id != known):
            # Its e-mail is not what it was, here or there: the number says which is the user's.
            account = turn.tools.hopsworks.account(at, known)
        problem = _problem(row, account, found, user)
        if account is None or problem:
            return _reported(row, cluster, problem or "", turn.view, _untold(row, account, at, turn))
        try:
            values = _agreed(row, account, at, turn)
        except (NeverError, TryAgainError) as error:
            return _reported(row, cluster, f"ACCOUNT_NOT_CHANGED: {error}", turn.view, {})
        return Advance((Move(row, None, values=values), *resolved(turn.view, cluster.id, ACCOUNT, row.user_id)))

    return with_cluster(row, cluster, turn, look)


def _untold(row: Row, account: Account | None, at: Address, turn: Turn) -> dict[str, Any]:
    """A suspension is written to the account that we know, whatever its e-mail is now; not to one of another type."""
    if row.account_enabled is not None or row.hopsworks_user_id is None:
        return {}
    if account is not None and account.account_id == row.hopsworks_user_id:
        return {"account_enabled": account.enabled}
    enabled = row.suspended_at is None
    change_account(turn, at, lambda server: server.set_enabled(at, row.hopsworks_user_id, enabled=enabled))
    return {"account_enabled": enabled}


def _reported(row: Row, cluster: Row, problem: str, view: View, values: dict[str, Any]) -> Advance:
    changes = failing(view, cluster.id, ACCOUNT, problem, row.user_id)
    shown = {**values, "checked_at": view.now, "detail": problem}
    return Advance((Move(row, None, values=shown), *changes))


def _problem(row: Row, account: Account | None, of_email: Account | None, user: Row) -> str | None:
    if account is None:
        other = f"; the user's e-mail is that of another account now, number {of_email.account_id}" if of_email else ""
        return (
            f"ACCOUNT_GONE: the server does not know the account any more; release the user, then assign again{other}"
        )
    if account.account_type != REMOTE:
        return f"ACCOUNT_TAKEN: the account is now of type {account.account_type}"
    if account.account_id == row.hopsworks_user_id and not is_theirs(account, row.hopsworks_username, user):
        return f"ACCOUNT_TAKEN: number {account.account_id} is {account.username}'s now, not {row.hopsworks_username}'s"
    if row.account_enabled is not None and account.enabled != row.account_enabled:
        return f"ACCOUNT_CHANGED: somebody has {'' if account.enabled else 'de'}activated it on the server"
    return None


def with_cluster(row: Row | None, cluster: Row, turn: Turn, work: Callable[[Address], Advance]) -> Outcome:
    """Call a cluster. While it does not answer its rows wait; active ones are left to the next sweep."""
    at = address(cluster, turn.tools)
    try:
        return work(at)
    except NotNowError as error:
        if row is not None and row.status == Status.ACTIVE and turn.trouble(at.dependency, Calls.READ):
            return Done(error.shown)
        raise
    except NeverError as error:
        raise RefusedError(str(error)) from None


def _put_off(row: Row, hold: Hold, turn: Turn) -> Outcome:
    return wait(row, str(hold), turn.later(turn.tools.settings.seat_recheck_s))


def address(cluster: Row, tools: Tools) -> Address:
    metadata = cluster.metadata if isinstance(cluster.metadata, dict) else {}
    client_id = metadata.get("client_id")
    return Address(
        str(cluster.id),
        cluster.name,
        cluster.api_url,
        cluster.api_key,
        client_id if isinstance(client_id, str) and client_id else tools.settings.hopsworks_client_id,
    )
