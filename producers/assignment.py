"""Assignment messages: one function a request. Each checks the shape, sends, and returns the id of what it is about.

With a connection they join the caller's transaction, so that a message is sent if and only if the caller
commits; without one they use DATABASE_URL and commit by themselves.
"""

from typing import Literal, TypedDict, Unpack

from pgfleet.producers.sending import send
from pgfleet.schema.assignment import QUEUE, Assign, Drain, Reactivate, Release, Suspend
from pgfleet.schema.queue.kernel import Connection


class Where(TypedDict, total=False):
    """Where a user is to be, and on whose behalf; found out unless given."""

    cluster_id: str
    assigned_by: Literal["system", "admin", "team_member_auto"]


def assign(user_id: str, conn: Connection | None = None, **fields: Unpack[Where]) -> str:
    """Give a user (the Auth0 id) a seat and an account; sent twice it is one seat.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    return send(QUEUE, Assign, {"user_id": user_id, **fields}, conn).user_id


def release(user_id: str, reason: str, conn: Connection | None = None) -> str:
    """Take seat and account back; the account is deactivated, not deleted.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    return send(QUEUE, Release, {"user_id": user_id, "reason": reason}, conn).user_id


def suspend(user_id: str, conn: Connection | None = None) -> str:
    """Keep a user, and the team of an owner, from logging in; they keep their seats.

    Raises:
        BadMessage: the id can't be used; nothing was sent.
    """
    return send(QUEUE, Suspend, {"user_id": user_id}, conn).user_id


def reactivate(user_id: str, conn: Connection | None = None) -> str:
    """Let a user in again, and the team that was suspended with an owner.

    Raises:
        BadMessage: the id can't be used; nothing was sent.
    """
    return send(QUEUE, Reactivate, {"user_id": user_id}, conn).user_id


def drain(cluster_id: str, conn: Connection | None = None) -> str:
    """Move the users of a cluster elsewhere, as far as there is room. It has to be closed to new users by then.

    Raises:
        BadMessage: the id is no UUID; nothing was sent.
    """
    return send(QUEUE, Drain, {"cluster_id": cluster_id}, conn).cluster_id
