"""The functions of document 004 as tests call them, with clusters and nodes of their own."""

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from worlds.database import Connection


def create(conn: Connection, name: str = "ours", **given: Any) -> str:
    arguments = "".join(f", {key} := %({key})s" for key in given)
    return str(value(conn, f"select clusters.create_cluster(%(p_name)s{arguments})", {"p_name": name, **given}))


def add(conn: Connection, cluster: str, name: str = "n", **given: Any) -> str:
    arguments = "".join(f", {key} := %({key})s" for key in given)
    query = f"select clusters.add_cluster_node(%(cluster)s, %(name)s{arguments})"
    return str(value(conn, query, {"cluster": cluster, "name": name, **given}))


def online(conn: Connection, cluster: str, health: str = "healthy", **given: Any) -> str:
    """A node that is online."""
    node = add(conn, cluster, **given)
    update(conn, node, "online", health)
    return node


def update(
    conn: Connection, node: str | None, status: str | None = None, health: str | None = None, **metrics: Any
) -> Any:
    return value(conn, "select clusters.update_node_status(%s, %s, %s, %s)", (node, status, health, Jsonb(metrics)))


def promote(conn: Connection, node: str | None, epoch: int | None = None) -> Any:
    return value(conn, "select clusters.promote_to_primary(%s, %s)", (node, epoch))


def value(conn: Connection, query: str, parameters: Any = None) -> Any:
    row = conn.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def cluster_row(conn: Connection, cluster: str) -> dict[str, Any]:
    with conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        row = cursor.execute("select * from clusters.clusters where cluster_id = %s", (cluster,)).fetchone()
    assert row is not None
    return row


def events(conn: Connection, cluster: str, event_type: str | None = None) -> list[tuple[Any, ...]]:
    """Type, severity, node and details of a cluster's events, oldest first."""
    return conn.execute(
        "select event_type, severity, node_id, details from clusters.cluster_events"
        " where cluster_id = %(cluster)s and event_type = coalesce(%(type)s, event_type) order by event_id",
        {"cluster": cluster, "type": event_type},
    ).fetchall()
