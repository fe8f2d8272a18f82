"""A database made as an operator makes it, with some rows of each document in it: two users, a cluster of two nodes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from pgfleet.schema.database.migrate import migrate
from worlds.database import Connection, fresh_database

CLUSTER = "123e4567-e89b-12d3-a456-426614174000"
PEOPLE = f"""
  insert into hopsworks.users (id, email, name, is_admin, account_owner_id) values
    ('auth0|123', 'user@example.com', 'Ada', true, null), ('auth0|124', 'bob@example.com', 'Bob', false, 'auth0|123');
  insert into hopsworks.hopsworks_clusters (id, name, api_url, api_key, max_users) values
    ('{CLUSTER}', 'us-east-1-prod', 'https://hopsworks.example', 'secret', 3),
    (gen_random_uuid(), 'a-lighter-one', 'https://lighter.example', 'secret', 100);
  insert into hopsworks.user_hopsworks_assignments
    (user_id, hopsworks_cluster_id, assigned_by, hopsworks_username, holds_seat, assigned_at)
  values ('auth0|123', '{CLUSTER}', 'system', 'ada00000', true, now() - interval '1 hour'),
    ('auth0|124', '{CLUSTER}', 'team_member_auto', 'bob00000', true, now());
  insert into hopsworks.usage_daily (user_id, date, cpu_hours, total_cost) values
    ('auth0|123', current_date, 4, 2.5), ('auth0|123', date_trunc('month', current_date) - interval '1 day', 9, 7);
"""
A_RESERVATION = """
  insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)
  values ('r1', 'ada', 'pending', 'h100', 1, 8, now())
"""


@contextmanager
def documented_database(server_dsn: str) -> Iterator[Connection]:
    """Migrated and not copied, because a copy has no search_path of its own."""
    with fresh_database(server_dsn) as dsn:
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(PEOPLE.encode())
            conn.execute(A_RESERVATION)
            populate_cluster(conn)
            yield conn


def populate_cluster(conn: Connection) -> None:
    (cluster,) = rows(conn, "select create_cluster('ours', p_template := 'production')")[0]
    for name in ("one", "two"):
        (node,) = conn.execute("select add_cluster_node(%s, %s)", (cluster, name)).fetchall()[0]
        health = Jsonb({"cpu_usage_percent": 95 if name == "two" else 10})
        conn.execute("select update_node_status(%s, 'online', p_metrics := %s)", (node, health))
    conn.execute("select record_cluster_metrics(%s, %s, '{}')", (cluster, node))


def rows(conn: Connection, statement: str) -> list[tuple[Any, ...]]:
    return conn.execute(statement.encode()).fetchall()


def with_ids(conn: Connection, printed: str) -> str:
    """The printed statement, with ids that are there where the document abbreviates."""
    ((cluster, node),) = rows(
        conn, "select cluster_id, node_id from cluster_nodes join clusters using (cluster_id) where node_number = 1"
    )
    for abbreviation, value in {
        "'USER_ID'": "'auth0|123'",
        "node-a1b2c3d4-...-1-1i2j3k4l": node,
        "cluster-a1b2c3d4-...": cluster,
        "'cluster-id'": f"'{cluster}'",
    }.items():
        printed = printed.replace(abbreviation, value)
    return printed
