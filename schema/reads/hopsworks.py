"""Reading Hopsworks clusters for people: their load, whether they answer, who waits for them, what is wrong with them.

No statement here selects an api_key or a kubeconfig; of the latter, whether there is one.
"""

import re
from collections import defaultdict
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.assignment import LIVE, Held
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.resolve import Several, begins, best, first
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.hopsworks import (
    health_check_failures,
    hopsworks_clusters,
    hopsworks_users,
    user_hopsworks_assignments,
)

_BREAKER = ("kind", "reason", "began_at", "retry_at", "probes")
_unanswered = sa.table(
    "unanswered_clusters", *(sa.column(name) for name in ("cluster_id", *_BREAKER)), schema="hopsworks"
)
_c, _b, _a, _f = hopsworks_clusters.c, _unanswered.c, user_hopsworks_assignments.c, health_check_failures.c
_id = sa.cast(_c.id, sa.Text)
_USER_INFO = re.compile(r"//[^/?#\s]*@")


def listing(conn: Connection) -> list[Row]:
    """Every cluster by name: load, breaker, who waits for it by reason code, and open failures by check."""
    waits, wrong = waiting(conn), _open_failures(conn)
    rows = fetch(conn, _overview().order_by(_c.name, _c.id))
    return [
        Row({**_shown(row), "waiting": waits.get(row["id"], {}), "open_failures": wrong[row["id"]]}) for row in rows
    ]


def by_id(conn: Connection, cluster_id: str) -> Row | None:
    """One cluster as in the listing, without `waiting` and `open_failures`."""
    row = first(conn, _overview().where(_id == cluster_id))
    return None if row is None else _shown(row)


def _overview() -> sa.Select[Any]:
    # As the documents count them: MISMATCH is where current_users says otherwise.
    assigned = sa.select(sa.func.count(_a.user_id)).where(_a.hopsworks_cluster_id == _c.id).scalar_subquery()
    columns = (_id.label("id"), _c.name, _c.api_url, _c.status, _c.max_users, _c.current_users, _c.created_at)
    return sa.select(
        *columns,
        assigned.label("assigned"),
        _c.has_kubeconfig,
        _c.metadata["client_id"].astext.label("client_id"),
        *(_b[name].label(f"breaker_{name}") for name in _BREAKER),
    ).select_from(hopsworks_clusters.outerjoin(_unanswered, _b.cluster_id == _c.id))


def _shown(row: Row) -> Row:
    """The row as people see it: no user or password in the URL, and the breaker as one object."""
    breaker = {name: row.pop(f"breaker_{name}") for name in _BREAKER}
    url = _USER_INFO.sub("//***@", row["api_url"]).partition("?")[0]
    mismatch = (row["current_users"] or 0) != row["assigned"]
    return Row(
        {
            **row,
            "api_url": url,
            "mismatch": mismatch,
            "breaker": {"open": breaker["retry_at"] is not None, **breaker},
        }
    )


def resolve(conn: Connection, given: str) -> Row:
    """The cluster of a whole id or name, or of the unique beginning of one.

    Raises:
        Refusal: several begin so, or none does; the message says which, or what to do.
    """
    given = given.strip()
    conditions = (_id == given.lower(), _c.name == given, begins(given, _id, _c.name)) if given else ()
    several = Several(
        f"{printable(given)} fits several Hopsworks clusters; give the id",
        lambda row: f"{row['id']}  {printable(row['name'])}  {row['status']}",
        most=5,
    )
    found = best(conn, _overview().order_by(_c.name, _c.id), conditions, several)
    if found is None:
        raise Refusal(
            f"There is no Hopsworks cluster whose name or id begins with {printable(given) or 'nothing'}. "
            "See `pgfleet hopsworks`."
        )
    return _shown(found)


def waiting(conn: Connection) -> dict[str | None, dict[str, int]]:
    """How many users wait for each cluster, by why; under None those who would go to any.

    Why is the code of `Held` in the row's detail, else its state. A team member waits for the owner's cluster.
    """
    owners = user_hopsworks_assignments.alias("owners")
    users = hopsworks_users.c
    member = users.account_owner_id.is_not(None)
    hoped = sa.case((member, owners.c.hopsworks_cluster_id), else_=_a.wanted_cluster_id)
    cluster = sa.cast(sa.func.coalesce(_a.hopsworks_cluster_id, hoped), sa.Text).label("cluster_id")
    word = sa.func.split_part(_a.detail, ":", 1)
    code = sa.case((word.in_([held.value for held in Held]), word), else_=_a.status).label("code")
    statement = (
        sa.select(cluster, code, sa.func.count().label("number"))
        .select_from(
            user_hopsworks_assignments.join(hopsworks_users, users.id == _a.user_id).outerjoin(
                owners, owners.c.user_id == users.account_owner_id
            )
        )
        .where(_a.status.in_([status.value for status in sorted(LIVE)]))
        .group_by(cluster, code)
        .order_by(code)
    )
    found: dict[str | None, dict[str, int]] = defaultdict(dict)
    for row in fetch(conn, statement):
        found[row["cluster_id"]][row["code"]] = row["number"]
    return found


def _open_failures(conn: Connection) -> dict[str, dict[str, int]]:
    cluster = sa.cast(_f.hopsworks_cluster_id, sa.Text).label("cluster_id")
    statement = sa.select(cluster, _f.check_name, sa.func.count().label("number")).where(_f.resolved_at.is_(None))
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in fetch(conn, statement.group_by(cluster, _f.check_name).order_by(_f.check_name)):
        found[row["cluster_id"]][row["check_name"]] = row["number"]
    return found


def failures(conn: Connection, cluster_id: str, most: int) -> list[Row]:
    """What is wrong with a cluster, and with accounts on it, at present; the cluster's own first."""
    columns = (_f.check_name, _f.user_id, hopsworks_users.c.email, _f.details, _f.failures)
    times = (_f.first_failed_at, _f.last_failed_at)
    return fetch(
        conn,
        sa.select(*columns, *times)
        .select_from(health_check_failures.outerjoin(hopsworks_users, hopsworks_users.c.id == _f.user_id))
        .where(_f.hopsworks_cluster_id == cluster_id, _f.resolved_at.is_(None))
        .order_by(_f.user_id.is_not(None), _f.last_failed_at.desc(), _f.id)
        .limit(most),
    )


def free_elsewhere(conn: Connection, cluster_id: str) -> int:
    """How many seats are free on other clusters that take users and answer."""
    free = sa.func.sum(sa.func.greatest(_c.max_users - _c.current_users, 0))
    statement = sa.select(sa.func.coalesce(free, 0).label("free"))
    usable = (_c.id != cluster_id, _c.status == "active", _c.id.not_in(sa.select(_b.cluster_id)))
    return int(fetch(conn, statement.where(*usable))[0]["free"])
