"""Reading assignments for people: a user by what is typed, lists, what happened to one, and what will.

No statement here selects a cluster's api_key or kubeconfig.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.assignment import LIVE, QUEUE, REQUESTS, Status
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.about import Subject, action_of, messages
from pgfleet.schema.reads.resolve import Several, begins, best, first
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.hopsworks import (
    health_check_failures,
    hopsworks_clusters,
    hopsworks_users,
    user_hopsworks_assignments,
)

USER = Subject(QUEUE, "user_id")
NONE = "none"
# Those who need somebody first; within a state who has waited longest.
ORDER = (Status.FAILED, Status.PENDING, Status.CREATING_USER, Status.ACTIVE, Status.RELEASED)
_users, _assignments = hopsworks_users.alias("u"), user_hopsworks_assignments.alias("a")
_owners, _clusters = hopsworks_users.alias("o"), hopsworks_clusters.alias("c")
_wanted, _left = hopsworks_clusters.alias("w"), hopsworks_clusters.alias("l")
_u, _a, _c = _users.c, _assignments.c, _clusters.c
_everybody = (
    _users.outerjoin(_assignments, _a.user_id == _u.id)
    .outerjoin(_owners, _owners.c.id == _u.account_owner_id)
    .outerjoin(_clusters, _c.id == _a.hopsworks_cluster_id)
    .outerjoin(_wanted, _wanted.c.id == _a.wanted_cluster_id)
    .outerjoin(_left, _left.c.id == _a.left_cluster_id)
)
_COLUMNS = (
    *(_u.id.label("user_id"), _u.email, _u.name, _u.account_owner_id, _owners.c.email.label("owner_email")),
    *(sa.cast(_a.id, sa.Text).label("assignment_id"), _a.status, _a.status_reason, _a.status_since, _a.detail),
    *(sa.cast(_c.id, sa.Text).label("cluster_id"), _c.name.label("cluster_name")),
    sa.cast(_wanted.c.id, sa.Text).label("wanted_cluster_id"),
    _wanted.c.name.label("wanted_cluster_name"),
    _left.c.name.label("left_cluster_name"),
    *(_a.assigned_by, _a.assigned_at, _a.asked_at),
    *(_a.hopsworks_username, _a.hopsworks_user_id, _a.account_enabled, _a.max_projects, _a.checked_at),
    *(_a.suspended_at, _a.suspended_for, _a.released_at, _a.failed_at),
)


@dataclass(frozen=True)
class UserFilters:
    """Which users to list; None is no condition. `status` may be `none`: of users without an assignment."""

    cluster_id: str | None = None
    status: str | None = None
    waiting: bool = False
    most: int = 50


def read_status(text: str) -> str:
    """A state by its name, or `none`.

    Raises:
        FleetError: there is no such state; the message lists them.
    """
    known = [*ORDER, NONE]
    if text.lower() not in known:
        raise FleetError(f"{printable(text)} is no status of an assignment. Known are {', '.join(known)}.")
    return text.lower()


def user(conn: Connection, user_id: str) -> Row | None:
    """A user by the whole id, with the assignment; its columns are None where there is none."""
    return first(conn, people().where(_u.id == user_id))


def own_users(conn: Connection) -> list[str]:
    """The ids of the users of Hopsworks that are who asks (157)."""
    return [str(row[0]) for row in conn.execute("select id from public.own_hopsworks_users() id order by id")]


def people() -> sa.Select[Any]:
    return sa.select(*_COLUMNS).select_from(_everybody)


def assigned(filters: UserFilters) -> tuple[sa.Select[Any], Any, Any]:
    """Those who have an assignment, in no order; and the columns of user and assignment to order them by."""
    return people().where(_a.id.is_not(None), *_conditions(filters)), _u, _a


def find_user(conn: Connection, given: str) -> Row | None:
    """The user of a whole id or e-mail, its letter case aside; None if there is none.

    Raises:
        Refusal: two users have this e-mail in different letter case.
    """
    given = given.strip()
    exact = (_u.id == given, _u.email == given, sa.func.lower(_u.email) == given.lower())
    return best(conn, _by_email(), exact, _several(given))


def resolve_user(conn: Connection, given: str) -> Row:
    """The user of a whole id or e-mail, or of the unique beginning of one.

    Raises:
        Refusal: several begin so, or none does; the message says who, or what to do.
    """
    given = given.strip()
    found = find_user(conn, given)
    if found is None and given:
        found = best(conn, _by_email(), [begins(given, _u.id, _u.email)], _several(given))
    if found is None:
        raise Refusal(
            f"There is no user whose id or e-mail begins with {printable(given) or 'nothing'}. "
            "The sign-up service writes hopsworks.users; `pgfleet users` lists them."
        )
    return found


def _by_email() -> sa.Select[Any]:
    return people().order_by(_u.email, _u.id)


def _several(given: str) -> Several:
    return Several(
        f"{printable(given)} fits several users; give a whole id",
        lambda row: f"{printable(row['user_id'])}  {printable(row['email'])}",
        most=5,
    )


def listing(conn: Connection, filters: UserFilters) -> list[Row]:
    """Users with their assignments, those who need somebody first; who has none comes last."""
    place = sa.case({status.value: number for number, status in enumerate(ORDER)}, value=_a.status, else_=len(ORDER))
    statement = people().where(*_conditions(filters)).order_by(place, _a.asked_at.nulls_first(), _u.email, _u.id)
    return fetch(conn, statement.limit(filters.most))


def _conditions(filters: UserFilters) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if filters.cluster_id is not None:
        conditions.append(_a.hopsworks_cluster_id == filters.cluster_id)
    if filters.status is not None:
        conditions.append(_a.status.is_(None) if filters.status == NONE else _a.status == filters.status)
    if filters.waiting:
        conditions.append(_a.status.in_([status.value for status in sorted(LIVE)]))
    return conditions


def counts(conn: Connection, filters: UserFilters) -> dict[str, int]:
    """How many users of those to list are in each state, beyond the limit too."""
    status = sa.func.coalesce(_a.status, NONE).label("status")
    statement = sa.select(status, sa.func.count().label("number")).select_from(_everybody)
    number = {
        row["status"]: row["number"] for row in fetch(conn, statement.where(*_conditions(filters)).group_by(status))
    }
    return {name: number[name] for name in (*ORDER, NONE) if name in number}


def team(conn: Connection, owner_id: str) -> list[Row]:
    """The team members of an owner, by e-mail."""
    return fetch(conn, _by_email().where(_u.account_owner_id == owner_id))


def requests(conn: Connection, user_id: str) -> list[Row]:
    """Messages about a user that somebody has sent, and that may still change what there is to ask."""
    return [message for message in messages(conn, USER, user_id) if action_of(message) in REQUESTS]


def failures(conn: Connection, user_id: str) -> list[Row]:
    """What is wrong with a user's account at present."""
    f = health_check_failures.c
    columns = (f.check_name, f.details, f.failures, f.first_failed_at, f.last_failed_at)
    mine = (f.user_id == user_id, f.resolved_at.is_(None))
    return fetch(conn, sa.select(*columns).where(*mine).order_by(f.first_failed_at, f.id))
