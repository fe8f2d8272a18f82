"""Something of everything that people look at: ada's, and the same of mallory, whose name is in each row of hers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.producers.event import subscribe
from worlds.api.login import serving_on
from worlds.database import Connection
from worlds.fleet import new_id
from worlds.rows_of_disks import disk, operation, reservation, snapshot

OF_HOPSWORKS = """
  insert into hopsworks.users (id, email, name) values (%(user)s, %(user)s || '@x', %(user)s);
  insert into hopsworks.hopsworks_clusters (name, api_url, api_key, max_users)
    values ('of-' || %(user)s, 'https://' || %(user)s, 'secret', 9);
  insert into hopsworks.user_hopsworks_assignments (user_id, hopsworks_cluster_id)
    select %(user)s, id from hopsworks.hopsworks_clusters where name = 'of-' || %(user)s;
  insert into hopsworks.usage_daily (user_id, date, total_cost) values (%(user)s, current_date, 1);
  insert into hopsworks.user_credits (user_id, total_used) values (%(user)s, 1);
  insert into hopsworks.billing_history (user_id, amount, description) values (%(user)s, 1, %(user)s);
  insert into hopsworks.health_check_failures (hopsworks_cluster_id, user_id, check_name, details)
    select id, %(user)s, 'account', %(user)s from hopsworks.hopsworks_clusters where name = 'of-' || %(user)s;
  insert into autoscaler.audit_logs (action, category, user_email) values ('X_DONE', 'SYSTEM', %(user)s);
"""
OF_NODES = """
  insert into autoscaler.nodes (name, region) values ('n1', 'eu');
  insert into autoscaler.pools (node_id, oracle_pool_id, name, region)
    select id, 'p1', 'p1', 'eu' from autoscaler.nodes;
  select clusters.create_cluster('ours');
"""


@dataclass(frozen=True)
class Things:
    """The ids of what one user has."""

    user: str
    reservation: str
    disk: str
    snapshot: str
    operation: str
    cluster: str
    subscription: str


@dataclass(frozen=True)
class ReadWorld:
    serving: Connection
    owner: Connection
    rls: bool
    ada: Things
    mallory: Things


@contextmanager
def read_world(dsn: str, owner: Connection, *, rls: bool) -> Iterator[ReadWorld]:
    owner.execute(OF_NODES.encode())
    ada, mallory = (_things(owner, user) for user in ("ada", "mallory"))
    owner.execute("select public.switch_row_level_security(%s)", (rls,))
    with serving_on(dsn) as serving:
        yield ReadWorld(serving, owner, rls, ada, mallory)


def _things(owner: Connection, user: str) -> Things:
    for statement in OF_HOPSWORKS.split(";\n")[:-1]:
        owner.execute(statement.encode(), {"user": user})
    row_id = reservation(owner, disk_name=f"{user}-data", user_id=user, name=f"{user}-one", pod_logs=f"{user}: hello")
    disk_id = disk(owner, f"{user}-data", user=user)
    body = {"source_disk": f"{user}-data", "user_id": user, "reservation_id": row_id, "operation_id": new_id()}
    owner.execute(
        "insert into public.dead_letters (queue, msg_id, row_id, reason, enqueued_at, message)"
        " values ('gpu_reservations', 1, %s, %s, now(), %s)",
        (row_id, f"of {user}", Jsonb(body)),
    )
    return Things(
        user=user,
        reservation=row_id,
        disk=disk_id,
        snapshot=snapshot(owner, disk_id),
        operation=operation(owner, user_id=user, disk_name=f"{user}-data", disk_id=disk_id, body=body),
        cluster=_one(owner, "select id::text from hopsworks.hopsworks_clusters where name = %s", f"of-{user}"),
        subscription=_subscription(owner, user),
    )


def _subscription(owner: Connection, user: str) -> str:
    """With a delivery."""
    made = subscribe(user, f"https://{user}/hook", owner).subscription_id
    for batch_to in ("1.2.3", None):
        owner.execute(
            "update public.event_subscriptions set batch_to = %s, last_answer = %s where subscription_id = %s",
            (batch_to, batch_to and user, made),
        )
    return made


def _one(conn: Connection, query: str, *values: Any) -> Any:
    found = conn.execute(query.encode(), values).fetchone()
    assert found is not None
    return found[0]
