"""The house as tests keep it: what is due, and which days there are."""

from datetime import date
from typing import Any

from worlds.database import Connection

BY_DAY = [
    "autoscaler.node_heartbeats",
    "autoscaler.metrics",
    "autoscaler.pool_analytics",
    "clusters.cluster_metrics",
    "public.heartbeat_ids",
]


def days_of(conn: Connection, table: str) -> list[date]:
    found = conn.execute(
        "select to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') from pg_inherits"
        " where inhparent = %s::regclass and inhrelid::regclass::text not like %s order by 1",
        (table, "%default"),
    ).fetchall()
    return [day for (day,) in found]


def only(conn: Connection, *tables: str) -> None:
    """Let these be due, and no other table."""
    conn.execute(
        "update public.retention set next_at = case when table_name = any(%s) then '-infinity' else 'infinity' end"
        "::timestamptz",
        (list(tables),),
    )


def tidy(conn: Connection) -> list[str]:
    """Everything that is due; the tables in their order."""
    tables = []
    while table := value(conn, "select public.keep_house()"):
        tables.append(table)
        assert len(tables) < 50
    return tables


def today(conn: Connection) -> date:
    found: date = value(conn, "select (public.fleet_now() at time zone 'UTC')::date")
    return found


def value(conn: Connection, query: str, parameters: Any = None) -> Any:
    row = conn.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]
