"""Reading clusters for people: all of them, one by its id or a prefix of it or of its name, its nodes and its events.

Read from the tables rather than through the functions of `154_cluster_reads.sql`: looking leaves no event.
"""

from typing import Any

import sqlalchemy as sa

from pgfleet.schema.errors import Refusal
from pgfleet.schema.heartbeat import ClusterStatus
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.node import age_s, skew
from pgfleet.schema.reads.resolve import Several, begins, best, first
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.clusters import cluster_events, cluster_nodes, clusters

EVENTS = 10
MOST = 200
# The worst first; within a state by name.
ORDER = (
    ClusterStatus.OFFLINE,
    ClusterStatus.MAINTENANCE,
    ClusterStatus.DEGRADED,
    ClusterStatus.INITIALIZING,
    ClusterStatus.ACTIVE,
    ClusterStatus.DECOMMISSIONING,
)
_COUNTS = ("total", "online", "healthy", "warning", "critical", "offline")
_c, _n, _e = clusters.c, cluster_nodes.c, cluster_events.c
_health = sa.table(
    "cluster_health",
    sa.column("cluster_id", sa.Text),
    *(sa.column(name, sa.BigInteger) for name in _COUNTS),
    schema="clusters",
)
_LIVE = _c.status != ClusterStatus.DECOMMISSIONING.value


def listing(conn: Connection, *, ended_too: bool = False) -> list[Row]:
    """Clusters with their nodes counted, the worst first; those taken out of use only if asked for."""
    worst = sa.case({status.value: place for place, status in enumerate(ORDER)}, value=_c.status)
    statement = overview().order_by(_c.leaderless.desc(), worst, _c.name, _c.cluster_id)
    return fetch(conn, statement if ended_too else statement.where(_LIVE))


def by_score(
    conn: Connection, name: str | None = None, status: ClusterStatus | None = None, *, ended_too: bool = False
) -> list[Row]:
    """Clusters by their health, the worst first, those without nodes last; `name` is a part of it. At most MOST."""
    worst = (_c.leaderless.desc(), _health.c.total == 0, _c.health_score, _c.name, _c.cluster_id)
    statement = overview().order_by(*worst).limit(MOST)
    if name is not None:
        statement = statement.where(_c.name.icontains(name, autoescape=True))
    if status is not None:
        statement = statement.where(_c.status == status.value)
    elif not ended_too:
        statement = statement.where(_LIVE)
    return fetch(conn, statement)


def overview() -> sa.Select[Any]:
    """One row per cluster. oldest_seen: when the node that was silent longest was last heard."""
    oldest = (
        sa.select(sa.func.min(_n.last_heartbeat))
        .where(_n.cluster_id == _c.cluster_id, _n.deleted_at.is_(None), _n.status != "decommissioning")
        .scalar_subquery()
    )
    return sa.select(
        *(_c.cluster_id, _c.name, _c.region, _c.status, _c.operator_status, _c.status_reason, _c.status_since),
        *(_c.health_score, _c.max_nodes),
        *(_health.c[name].label(f"{name}_nodes") for name in _COUNTS),
        *(_c.primary_node_id, _name_of(_c.primary_node_id).label("primary_name")),
        *(_c.coordinator_node_id, _name_of(_c.coordinator_node_id).label("coordinator_name")),
        *(_c.epoch, _c.leaderless),
        oldest.label("oldest_seen"),
        age_s(oldest).label("oldest_seen_s"),
    ).join_from(clusters, _health, _health.c.cluster_id == _c.cluster_id)


def _name_of(node_id: sa.Column[Any]) -> sa.ScalarSelect[Any]:
    node = cluster_nodes.alias()
    return sa.select(node.c.name).where(node.c.node_id == node_id).scalar_subquery()


def by_id(conn: Connection, cluster_id: str) -> Row | None:
    return first(conn, overview().where(_c.cluster_id == cluster_id))


def resolve(conn: Connection, given: str) -> Row:
    """The cluster of a whole id or name, or of the unique beginning of one; a cluster in use rather than a former one.

    Raises:
        Refusal: several begin so, or none does; the message says what to do.
    """
    given = given.strip()
    named, beginning = _c.name == given, _begins(given)
    conditions = (
        *(_c.cluster_id == given.lower(), sa.and_(named, _LIVE), sa.and_(beginning, _LIVE)),
        *(named, beginning),
    )
    several = Several(
        f"{given} fits several clusters; give more of the id",
        lambda row: f"{row['cluster_id']}  {row['name']}  {row['status']}",
    )
    found = best(conn, overview().order_by(_c.name, _c.cluster_id), conditions if given else (), several)
    if found is None:
        begun = printable(given) or "nothing"
        raise Refusal(f"There is no cluster whose id or name begins with {begun}. See `pgfleet clusters --all`.")
    return found


def _begins(given: str) -> sa.ColumnElement[bool]:
    """Whether its id or name begins so; `cluster-`, which every id begins with, may be left out."""
    without_front = _c.cluster_id.startswith(f"cluster-{given.lower()}", autoescape=True)
    return sa.or_(begins(given, _c.cluster_id, _c.name), without_front)


def whole(conn: Connection, cluster_id: str) -> dict[str, Any] | None:
    """A cluster as document 004's `get_cluster_info` shows it, with its nodes; None where there is none."""
    shown: dict[str, Any] | None = fetch(conn, sa.select(sa.func.clusters.info_of(cluster_id).label("shown")))[0][
        "shown"
    ]
    return shown


def health(conn: Connection, cluster_id: str | None = None) -> dict[str, Any]:
    """As document 004's `get_cluster_health_summary`: of one cluster, or of all that are in use."""
    summary: dict[str, Any] = fetch(conn, sa.select(sa.func.clusters.health_of(cluster_id).label("summary")))[0][
        "summary"
    ]
    return summary


def nodes_of(conn: Connection, cluster_id: str) -> list[Row]:
    """The nodes of a cluster that are not deleted, in order of their number."""
    columns = (_n.node_id, _n.node_number, _n.name, _n.region, _n.status, _n.status_reason, _n.status_since)
    measured = (_n.cpu_usage_percent, _n.memory_usage_percent, _n.disk_usage_percent, _n.load_average)
    reported = (_n.health_status, *measured, _n.config_hash, _n.error_message, _n.last_heartbeat)
    roles = (
        _n.roles,
        _n.priority,
        _n.node_id.is_not_distinct_from(_c.primary_node_id).label("is_primary"),
        _n.node_id.is_not_distinct_from(_c.coordinator_node_id).label("is_coordinator"),
    )
    return fetch(
        conn,
        sa.select(*columns, *reported, age_s(_n.last_heartbeat).label("seen_s"), *skew(_n.skews), *roles)
        .join_from(cluster_nodes, clusters, _n.cluster_id == _c.cluster_id)
        .where(_n.cluster_id == cluster_id, _n.deleted_at.is_(None))
        .order_by(_n.node_number),
    )


def recommendations(conn: Connection, cluster_id: str) -> list[str]:
    """What a person should do about its nodes, a sentence each."""
    advice: list[str] = fetch(conn, sa.select(sa.func.clusters.recommendations(cluster_id).label("advice")))[0][
        "advice"
    ]
    return advice


def last_events(conn: Connection, cluster_id: str) -> list[Row]:
    """What happened to it last, the newest first, without what is only for debugging."""
    columns = (_e.event_id, _e.created_at, _e.severity, _e.event_type, _e.node_id, _e.message, _e.details, _e.epoch)
    mine = (_e.cluster_id == cluster_id, _e.severity != "debug")
    newest = (_e.created_at.desc(), _e.event_id.desc())
    return fetch(conn, sa.select(*columns, _e.triggered_by).where(*mine).order_by(*newest).limit(EVENTS))
