"""What tests of the Hopsworks commands share: users, clusters and assignments as rows, with secrets to look for."""

from typing import Any

from psycopg.types.json import Jsonb

from worlds.database import Connection

KEY = "k3y-" + "5ec2e7" * 6
KUBECONFIG = "kubec0nf1g-" + "5ec2e7" * 6
# What a terminal would obey, and what rich would.
HOSTILE = "[red]x[/]\n\x1b[31mred\x07 \u202egnp.exe"
HARMLESS = "[red]x[/] [31mred gnp.exe"
QUEUE = "cluster_assignments"
CODES = {"unreachable": "CLUSTER_UNREACHABLE", "api_key": "CLUSTER_KEY_REFUSED"}

CLEAN = """
create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe
as 'select statement_timestamp()';
set session_replication_role = replica;
truncate hopsworks.users, hopsworks.hopsworks_clusters, public.dead_letters, public.status_history,
  public.outages cascade;
set session_replication_role = origin;
delete from pgmq.q_cluster_assignments;
"""


def clean(conn: Connection) -> None:
    conn.execute(CLEAN)


def person(conn: Connection, user_id: str, email: str | None = None, owner: str | None = None, name: str = "N") -> str:
    conn.execute(
        "insert into hopsworks.users (id, email, name, account_owner_id) values (%s, %s, %s, %s)",
        (user_id, email or f"{user_id.rpartition('|')[2]}@example.org", name, owner),
    )
    return user_id


def hopsworks(conn: Connection, name: str, max_users: int = 10, **columns: Any) -> str:
    """A cluster; its id."""
    given = {"name": name, "api_url": "https://eu.example.org", "api_key": KEY, "kubeconfig": KUBECONFIG, **columns}
    row = conn.execute(
        f"insert into hopsworks.hopsworks_clusters (max_users, {', '.join(given)})"
        f" values ({max_users}, {', '.join(f'%({column})s' for column in given)}) returning id::text".encode(),
        given,
    ).fetchone()
    assert row is not None
    return str(row[0])


def assigned(
    conn: Connection, user_id: str, status: str = "pending", cluster: str | None = None, **columns: Any
) -> str:
    """An assignment, moved to a state as the machine allows, with its seat where it has a cluster; the user's id."""
    conn.execute("insert into hopsworks.user_hopsworks_assignments (user_id) values (%s)", (user_id,))
    seat = {"hopsworks_cluster_id": cluster, "holds_seat": True} if cluster else {}
    if cluster:
        change(conn, user_id, status="creating_user", **seat)
    if status in ("active", "released"):
        change(conn, user_id, status="active", hopsworks_username=f"{user_id[-3:]}10000")
    if status not in ("pending", "creating_user", "active"):
        change(conn, user_id, status=status)
    return change(conn, user_id, **{"status_reason": f"why {status}", "ticket": 1, **columns})


def change(conn: Connection, user_id: str, **columns: Any) -> str:
    sets = ", ".join(f"{column} = %({column})s" for column in columns)
    query = f"update hopsworks.user_hopsworks_assignments set {sets} where user_id = %(user_id)s"
    conn.execute(query.encode(), {"user_id": user_id, **columns})
    return user_id


def open_breaker(conn: Connection, cluster: str, kind: str = "unreachable", reason: str = "no answer") -> None:
    """An outage of the cluster, with which its check is on record as failed."""
    conn.execute(
        "insert into public.outages (dependency, calls, queue, code, reason, retry_at) values"
        " (%s, 'read', %s, %s, %s, public.fleet_now() + interval '30 seconds')",
        (f"hopsworks:{cluster}", QUEUE, CODES[kind], reason),
    )


def fail_check(conn: Connection, cluster: str, check: str, user_id: str | None = None, details: str = "wrong") -> None:
    conn.execute(
        "insert into hopsworks.health_check_failures (hopsworks_cluster_id, user_id, check_name, details)"
        " values (%s, %s, %s, %s)",
        (cluster, user_id, check, details),
    )


def bury(conn: Connection, body: dict[str, Any], reason: str = "given up", row_id: str | None = None) -> int:
    row = conn.execute(
        "insert into public.dead_letters (queue, msg_id, row_id, message, reason, enqueued_at)"
        " values (%s, 1, %s, %s, %s, now()) returning dead_letter_id",
        (QUEUE, row_id, Jsonb(body), reason),
    ).fetchone()
    assert row is not None
    return int(row[0])


def bodies(conn: Connection) -> list[dict[str, Any]]:
    """All messages in the queue, but for those that triggers of the database have sent."""
    rows = conn.execute("select message from pgmq.q_cluster_assignments order by msg_id").fetchall()
    return [body for (body,) in rows if body.get("action") != "admit"]


def status_of(conn: Connection, user_id: str) -> str | None:
    query = "select status from hopsworks.user_hopsworks_assignments where user_id = %s"
    row = conn.execute(query, (user_id,)).fetchone()
    return None if row is None else str(row[0])


def line_with(text: str, word: str) -> str:
    return next(line for line in text.splitlines() if word in line.split())
