"""Reading assignments for people: a user by what is typed, lists, what happened to one, and what will.

No statement here selects a cluster's api_key or kubeconfig.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.assignment import LIVE, MACHINE, QUEUE, REQUESTS, Status
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import FLEET_NOW, fetch, queue_table
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables import (
    dead_letters,
    health_check_failures,
    hopsworks_clusters,
    hopsworks_users,
    status_history,
    user_hopsworks_assignments,
)

CANDIDATES = 5
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
    rows = fetch(conn, _people().where(_u.id == user_id))
    return rows[0] if rows else None


def _people() -> sa.Select[Any]:
    return sa.select(*_COLUMNS).select_from(_everybody)


def find_user(conn: Connection, given: str) -> Row | None:
    """The user of a whole id or e-mail, its letter case aside; None if there is none.

    Raises:
        Refusal: two users have this e-mail in different letter case.
    """
    given = given.strip()
    return _only(conn, given, _u.id == given, _u.email == given, sa.func.lower(_u.email) == given.lower())


def resolve_user(conn: Connection, given: str) -> Row:
    """The user of a whole id or e-mail, or of the unique beginning of one.

    Raises:
        Refusal: several begin so, or none does; the message says who, or what to do.
    """
    given = given.strip()
    found = find_user(conn, given)
    if found is None and given:
        found = _only(conn, given, _begins(given.lower()))
    if found is None:
        raise Refusal(
            f"There is no user whose id or e-mail begins with {printable(given) or 'nothing'}. "
            "The sign-up service writes hopsworks.users; `pgfleet users` lists them."
        )
    return found


def _begins(given: str) -> sa.ColumnElement[bool]:
    return sa.or_(*(sa.func.lower(column).startswith(given, autoescape=True) for column in (_u.id, _u.email)))


def _only(conn: Connection, given: str, *conditions: sa.ColumnElement[bool]) -> Row | None:
    """The one user of the first condition that anybody meets.

    Raises:
        Refusal: several meet it.
    """
    for condition in conditions:
        found = fetch(conn, _people().where(condition).order_by(_u.email, _u.id).limit(CANDIDATES + 1))
        if len(found) > 1:
            listed = "\n".join(
                f"  {printable(row['user_id'])}  {printable(row['email'])}" for row in found[:CANDIDATES]
            )
            more = "\n  and more" if len(found) > CANDIDATES else ""
            raise Refusal(f"{printable(given)} fits several users; give a whole id:\n{listed}{more}")
        if found:
            return found[0]
    return None


def listing(conn: Connection, filters: UserFilters) -> list[Row]:
    """Users with their assignments, those who need somebody first; who has none comes last."""
    place = sa.case({status.value: number for number, status in enumerate(ORDER)}, value=_a.status, else_=len(ORDER))
    statement = _people().where(*_conditions(filters)).order_by(place, _a.asked_at.nulls_first(), _u.email, _u.id)
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
    return fetch(conn, _people().where(_u.account_owner_id == owner_id).order_by(_u.email, _u.id))


def now(conn: Connection) -> datetime:
    """The database's time."""
    moment: datetime = fetch(conn, sa.select(FLEET_NOW.label("now")))[0]["now"]
    return moment


def history(conn: Connection, assignment_id: str | None) -> list[Row]:
    """Every move of one assignment, oldest first."""
    h = status_history.c
    columns = (h.at, h.from_status, h.to_status, h.reason, h.actor, h.msg_id)
    mine = (h.machine == MACHINE, h.row_id == assignment_id)
    return fetch(conn, sa.select(*columns).where(*mine).order_by(h.history_id))


def letters(conn: Connection, user_id: str) -> list[Row]:
    """Dead letters about one user, answered ones too, oldest first."""
    d = dead_letters.c
    columns = (d.dead_letter_id, d.died_at, d.message, d.reason, d.attempts, d.answer, d.answered_at)
    about = sa.or_(d.row_id == user_id, d.message["user_id"].astext == user_id)
    return fetch(conn, sa.select(*columns).where(d.queue == QUEUE, about).order_by(d.dead_letter_id))


def messages(conn: Connection, user_id: str) -> list[Row]:
    """Messages about one user that lie in the queue, by the time they are due."""
    q = queue_table(QUEUE).c
    columns = (q.msg_id, q.vt, q.read_ct, q.message, (q.vt > FLEET_NOW).label("later"))
    return fetch(conn, sa.select(*columns).where(q.message["user_id"].astext == user_id).order_by(q.vt, q.msg_id))


def requests(conn: Connection, user_id: str) -> list[Row]:
    """Those among them that somebody has sent, and that may still change what there is to ask."""
    return [message for message in messages(conn, user_id) if action_of(message) in REQUESTS]


def action_of(record: Row) -> str | None:
    """What a message or a letter asks for; None where nobody can tell."""
    body = record["message"]
    return body.get("action") if isinstance(body, dict) else None


def failures(conn: Connection, user_id: str) -> list[Row]:
    """What is wrong with a user's account at present."""
    f = health_check_failures.c
    columns = (f.check_name, f.details, f.failures, f.first_failed_at, f.last_failed_at)
    mine = (f.user_id == user_id, f.resolved_at.is_(None))
    return fetch(conn, sa.select(*columns).where(*mine).order_by(f.first_failed_at, f.id))
