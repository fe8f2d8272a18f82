"""Assignments of users to Hopsworks clusters: their states, and the messages of the queue `cluster_assignments`.

The moves between the states are in `018_assignment_machine.sql`, where the database enforces them; the steps that
make them are in `workers/assignment/machine.py`.
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AwareDatetime, BeforeValidator, Field

from pgfleet.schema.asking import Role, Whose
from pgfleet.schema.messages import Message, Name, Sweep, Uuid, by_action, read_message, read_time
from pgfleet.schema.tickets import NUDGE, Tickets

QUEUE = "cluster_assignments"
# By these a body that is refused still says what it is about.
IDS = ("user_id", "cluster_id")
MACHINE = "assignment"
TICKETS = Tickets("assignment", "advance", "user_id", QUEUE)


class Status(StrEnum):
    """Who moves an assignment on from each state."""

    PENDING = "pending"  # the line: a free seat, for a team member on the owner's cluster
    CREATING_USER = "creating_user"  # the Hopsworks server, once the username was read back
    ACTIVE = "active"  # a release
    RELEASED = "released"  # another assign
    FAILED = "failed"  # another assign, or an operator who replays its dead letter


LIVE = frozenset({Status.PENDING, Status.CREATING_USER})
FINAL = frozenset({Status.RELEASED, Status.FAILED})
# What a row says that has just come into the line.
WAITING = "Waiting for a seat"


class Held(StrEnum):
    """Why an assignment waits; the first word of what people are told."""

    CLUSTER_FULL = "CLUSTER_FULL"
    NO_CLUSTER = "NO_CLUSTER"
    OWNER_NOT_ASSIGNED = "OWNER_NOT_ASSIGNED"
    SUSPENDED = "SUSPENDED"
    CLUSTER_MAINTENANCE = "CLUSTER_MAINTENANCE"
    CLUSTER_KEY_REFUSED = "CLUSTER_KEY_REFUSED"
    CLUSTER_UNREACHABLE = "CLUSTER_UNREACHABLE"


class Request(Message):
    """What is asked about a user. `user_id` is the Auth0 id."""

    user_id: Name


class Assign(Request):
    """Give a user a seat and an account; on the least loaded cluster, unless one is named."""

    action: Literal["assign"] = "assign"
    cluster_id: Uuid | None = None
    assigned_by: Literal["system", "admin", "team_member_auto"] | None = None


class Release(Request):
    """Take both back. The account is deactivated, not deleted: what the user has made stays."""

    action: Literal["release"] = "release"
    reason: Name


class Suspend(Request):
    """Keep a user, and the team members of an owner, from logging in; they keep their seats."""

    action: Literal["suspend"] = "suspend"


class Reactivate(Request):
    """Let a user in again, and the team members that were suspended with an owner."""

    action: Literal["reactivate"] = "reactivate"


class Drain(Message):
    """Move the users of a cluster elsewhere, as far as there is room, unless it takes new users again."""

    action: Literal["drain"] = "drain"
    cluster_id: Uuid


class DrainPage(Message):
    """The worker's own: a drain goes on after a page of users."""

    action: Literal["drain_page"] = "drain_page"
    cluster_id: Uuid
    # The last user of the page before, and whether somebody before stays.
    after: Name
    somebody_stays: bool


class SuspendMember(Request):
    """The worker's own: a team member is suspended with the owner of the account, who is."""

    action: Literal["suspend_member"] = "suspend_member"


class ReactivateMember(Request):
    """The worker's own: the owner of a team member's account is let in again, and with them who was suspended so."""

    action: Literal["reactivate_member"] = "reactivate_member"


class Ticket(Request):
    """The worker's own: the row's turn to be looked at. An older number than the row's is stale."""

    action: Literal["advance"] = "advance"
    ticket: Annotated[int, Field(ge=NUDGE, le=2**31 - 1)]
    # Where its account is to be made: whoever is not there any more when it is done may have left one behind.
    cluster_id: Uuid | None = None


class Follow(Request):
    """The worker's own: a team member goes to the cluster that the owner of the account is on."""

    action: Literal["follow"] = "follow"


class CloseAccount(Request):
    """The worker's own: deactivate what a user who left a cluster has there. Which account that is, its row says."""

    action: Literal["close_account"] = "close_account"
    cluster_id: Uuid


class Admit(Message):
    """The worker's own: those who wait may find a seat."""

    action: Literal["admit"] = "admit"


class SweepSeats(Message):
    """The worker's own: count the seats anew."""

    action: Literal["sweep_seats"] = "sweep_seats"


class SweepAccounts(Message):
    """The worker's own: look at the accounts whose turn it is."""

    action: Literal["sweep_accounts"] = "sweep_accounts"


class Measure(Message):
    """The worker's own: measure what users use on every cluster with a kubeconfig."""

    action: Literal["measure"] = "measure"


def _day(value: object) -> object:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be a day, such as 2026-11-28") from None


class MeasureCluster(Message):
    """The worker's own: one cluster's measurement of one slot of time."""

    action: Literal["measure_cluster"] = "measure_cluster"
    cluster_id: Uuid
    slot: Annotated[AwareDatetime, BeforeValidator(read_time)]


class Bill(Message):
    """The worker's own: whose days have ended and are not billed yet?"""

    action: Literal["bill"] = "bill"


class BillUser(Request):
    """The worker's own: what one user's day costs."""

    action: Literal["bill_user"] = "bill_user"
    day: Annotated[date, BeforeValidator(_day)]


BILLING = (Measure, MeasureCluster, Bill, BillUser)

# Users have no say in seats and accounts; operators of users and services have.
MAY = {Role.ADMIN: Whose.ANY, Role.SERVICE: Whose.ANY}

# What others send; the published JSON Schema is made of these.
REQUESTS: dict[str, type[Message]] = by_action(Assign, Release, Suspend, Reactivate, Drain)
ACTIONS: dict[str, type[Message]] = {
    **REQUESTS,
    **by_action(
        DrainPage,
        SuspendMember,
        ReactivateMember,
        Ticket,
        Follow,
        CloseAccount,
        Admit,
        Sweep,
        SweepSeats,
        SweepAccounts,
        Measure,
        MeasureCluster,
        Bill,
        BillUser,
    ),
}


def read(body: Any) -> Message:
    """A body of `cluster_assignments` as its message.

    Raises:
        BadMessage: with a reason that a person understands.
    """
    return read_message(body, ACTIONS)


def row_id(user_id: str) -> UUID:
    """The id of a user's row comes from the user's, so that one made twice is one row."""
    return uuid5(NAMESPACE_URL, f"pgfleet:assignment:{user_id}")
