"""The accounts that users have left on clusters: deactivated, whichever their rows say, if the server says so, too."""

from pgfleet.schema.assignment import CloseAccount
from pgfleet.schema.rows.row import Row
from pgfleet.workers.assignment.account import (
    ACCOUNT,
    change_account,
    is_anothers,
    is_theirs,
    neighbours,
    with_cluster,
)
from pgfleet.workers.assignment.failures import noted
from pgfleet.workers.assignment.tools import Turn, hand_out
from pgfleet.workers.assignment.view import View
from pgfleet.workers.clients.hopsworks.client import REMOTE, Account, Address
from pgfleet.workers.runtime.outcomes import Advance, Change, Done, Move, Outcome, Reject


def close(message: CloseAccount, turn: Turn) -> Outcome:
    """Deactivate what somebody who has left still has on a cluster; only what this program may have made."""
    view = turn.view
    row, cluster = view.rows.get(message.user_id), view.clusters.get(message.cluster_id)
    if cluster is None:
        return Done("the cluster is gone")
    left = view.closings.get((message.user_id, message.cluster_id))
    if row is None or left is None:
        return Reject(f"user_id: {message.user_id} has left no account on {cluster.name}")
    if left.closed_at is not None:
        return Done("the account is closed already")
    if cluster.status == "inactive":
        return Done(f"{cluster.name} is inactive; should it come back, the sweep asks again")
    closed = Move(left, None, values={"closed_at": view.now})
    if row.hopsworks_cluster_id == cluster.id:
        return _open_again(row, closed)
    if _has_holder(row, cluster, left.hopsworks_user_id, view):
        return Advance((closed,))

    def deactivate(at: Address) -> Advance:
        told = _deactivate(row, left, at, turn)
        # Written so that an assignment to this cluster that came meanwhile is noticed.
        return Advance((Move(row, None, values={"checked_at": turn.now}), closed, *told))

    return with_cluster(None, cluster, turn, deactivate)


def _has_holder(row: Row, cluster: Row, account_id: int | None, view: View) -> bool:
    """Whether the account that a user has left is another user's of ours by now, or may be."""
    theirs = {other.account_id for other in neighbours(row.user_id, cluster, view)}
    if account_id is None:
        return bool(theirs)
    is_held = view.holders.get((str(cluster.id), account_id), row.user_id) != row.user_id
    return is_held or not theirs.isdisjoint({account_id, None})


def _deactivate(row: Row, left: Row, at: Address, turn: Turn) -> tuple[Change, ...]:
    """Deactivate the account of the number that was written down, if the server says that it is still the same one.

    Where the number may not have been written, what has the user's e-mail is deactivated, if it may be ours.
    """
    known = left.hopsworks_user_id
    account = None if known is None else turn.tools.hopsworks.account(at, known)
    user = turn.view.users[row.user_id]
    if account is not None and not is_theirs(account, left.hopsworks_username, user):
        details = f"account number {known} is {account.username}'s now, and was {left.hopsworks_username}'s: left alone"
        return noted(turn.view, left.hopsworks_cluster_id, ACCOUNT, details, row.user_id)
    if account is None and left.may_be_unknown:
        found = turn.tools.hopsworks.find(at, user.email)
        account = found if found is not None and _may_be(row, found, at, turn.view) else None
    if account is not None and account.enabled:
        number = account.account_id
        change_account(turn, at, lambda server: server.set_enabled(at, number, enabled=False))
    return ()


def _may_be(row: Row, account: Account, at: Address, view: View) -> bool:
    """Whether an account that was found by its e-mail may be one that was made for this user."""
    return account.account_type == REMOTE and not is_anothers(row.user_id, account, at, view)


def _open_again(row: Row, closed: Move) -> Outcome:
    """Assigned to this cluster again: whatever was deactivated meanwhile is looked at once more."""
    return hand_out(Move(row, None, values={"account_enabled": None})) + Advance((closed,))
