"""What tells of a move or a change besides the history: lifecycle logs, cluster events, and the audit of hands."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from worlds.clusters import add, create, events
from worlds.database import Connection, fresh_database

NODE_MOVES = [
    ("INACTIVE", "ACTIVE", "FIRST_SEEN", "heartbeat"),
    ("ACTIVE", "ERROR", "ENTERED_ERROR", "heartbeat"),
    ("ERROR", "ACTIVE", "RECOVERED", "heartbeat"),
    ("ACTIVE", "OFFLINE", "WENT_OFFLINE", "system"),
    ("ERROR", "OFFLINE", "WENT_OFFLINE", "system"),
    ("OFFLINE", "ACTIVE", "CAME_ONLINE", "heartbeat"),
    ("OFFLINE", "ERROR", "CAME_ONLINE", "heartbeat"),
]
SECRET = "a-secret-value"  # noqa: S105 - not one of anybody's


@pytest.fixture(scope="module")
def logs(server_dsn: str, template: str) -> Iterator[Connection]:
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def db(logs: Connection) -> Iterator[Connection]:
    """One database for all, each test in a transaction that is rolled back."""
    with logs.transaction(force_rollback=True):
        yield logs


def node_in(conn: Connection, status: str) -> int:
    row = conn.execute("insert into autoscaler.nodes (name, region) values ('n', 'eu') returning id").fetchone()
    assert row is not None
    conn.execute("alter table autoscaler.nodes disable trigger user")
    conn.execute("update autoscaler.nodes set status = %s where id = %s", (status, row[0]))
    conn.execute("alter table autoscaler.nodes enable trigger user")
    node: int = row[0]
    return node


def lifecycle(conn: Connection, node: int) -> list[tuple[Any, ...]]:
    return conn.execute(
        "select event_type, previous_status, new_status, reason, triggered_by"
        " from autoscaler.node_lifecycle_logs where node_id = %s order by id",
        (node,),
    ).fetchall()


def audited(conn: Connection, kind: str) -> list[tuple[Any, ...]]:
    """Action, category, the row's name and the details, oldest first."""
    found = conn.execute(
        "select action, category, resource_name, details from autoscaler.audit_logs"
        " where resource_type = %s order by id",
        (kind,),
    ).fetchall()
    return [(*row[:3], json.loads(row[3])) for row in found]


@pytest.mark.parametrize(("origin", "to", "event", "by"), NODE_MOVES)
def test_a_nodes_move_is_in_the_lifecycle_log(db: Connection, origin: str, to: str, event: str, by: str) -> None:
    node = node_in(db, origin)
    db.execute("set local pgfleet.actor = 'heartbeat-worker'")

    db.execute("update autoscaler.nodes set status = %s, status_reason = 'told so' where id = %s", (to, node))

    assert lifecycle(db, node) == [(event, origin, to, "told so", by)]


@pytest.mark.parametrize(("origin", "to", "event", "_"), NODE_MOVES)
def test_a_nodes_move_by_hand_is_manual_in_the_lifecycle_log(
    db: Connection, origin: str, to: str, event: str, _: str
) -> None:
    node = node_in(db, origin)
    db.execute("set local pgfleet.reason = 'maintenance window'")

    db.execute("update autoscaler.nodes set status = %s where id = %s", (to, node))

    assert lifecycle(db, node) == [(event, origin, to, "maintenance window", "manual")]


def test_a_node_that_is_deleted_or_brought_back_is_in_the_lifecycle_log(db: Connection) -> None:
    node = node_in(db, "ACTIVE")

    db.execute("update autoscaler.nodes set deleted_at = now() where id = %s", (node,))
    db.execute("update autoscaler.nodes set deleted_at = null where id = %s", (node,))

    assert [row[:3] for row in lifecycle(db, node)] == [
        ("DELETED", "ACTIVE", "ACTIVE"),
        ("RESTORED", "ACTIVE", "ACTIVE"),
    ]


@pytest.mark.parametrize(
    ("status", "severity"),
    [("active", "info"), ("degraded", "warning"), ("maintenance", "warning"), ("offline", "critical")],
)
def test_a_clusters_move_is_an_event(db: Connection, status: str, severity: str) -> None:
    cluster = create(db)
    db.execute("set local pgfleet.reason = 'a drill'")

    db.execute("update clusters.clusters set status = %s where cluster_id = %s", (status, cluster))

    (event,) = events(db, cluster, "CLUSTER_STATUS_CHANGED")
    assert event[1] == severity
    assert event[3] == {"from": "initializing", "to": status, "health_score": 0, "reason": "a drill"}


@pytest.mark.parametrize(
    ("status", "severity"), [("online", "info"), ("offline", "error"), ("error", "error"), ("maintenance", "warning")]
)
def test_a_cluster_nodes_move_is_an_event(db: Connection, status: str, severity: str) -> None:
    cluster = create(db)
    node = add(db, cluster)

    db.execute("update clusters.cluster_nodes set status = %s where node_id = %s", (status, node))

    assert events(db, cluster, "NODE_STATUS_CHANGED") == [
        ("NODE_STATUS_CHANGED", severity, node, {"from": "provisioning", "to": status, "reason": "by hand"})
    ]


def test_a_status_that_health_makes_says_which_score_whoever_called(db: Connection) -> None:
    cluster = create(db)
    node = add(db, cluster)

    db.execute("select clusters.update_node_status(%s, 'online', 'healthy')", (node,))

    (event,) = events(db, cluster, "CLUSTER_STATUS_CHANGED")
    assert event[3]["reason"] == "health score 1.00"


@pytest.mark.parametrize(
    ("kind", "category", "insert", "change", "columns"),
    [
        (
            "node",
            "NODE",
            f"insert into autoscaler.nodes (name, region, api_key_hash) values ('x', 'eu', '{SECRET}')",
            f"update autoscaler.nodes set api_key_hash = '{SECRET}2', region = 'us'",
            ["api_key_hash", "region"],
        ),
        (
            "user",
            "USER",
            f"insert into autoscaler.users (email, full_name, hashed_password) values ('x', 'X', '{SECRET}')",
            f"update autoscaler.users set hashed_password = '{SECRET}2'",
            ["hashed_password"],
        ),
        (
            "hopsworks_cluster",
            "SYSTEM",
            f"insert into hopsworks.hopsworks_clusters (name, api_url, api_key) values ('x', 'u', '{SECRET}')",
            f"update hopsworks.hopsworks_clusters set api_key = '{SECRET}2', kubeconfig = '{SECRET}'",
            ["api_key", "has_kubeconfig", "kubeconfig"],
        ),
    ],
)
def test_a_hands_change_is_audited_by_columns_without_values(
    db: Connection, kind: str, category: str, insert: str, change: str, columns: list[str]
) -> None:
    db.execute(insert.encode())
    db.execute(change.encode())

    upper = kind.upper()
    assert audited(db, kind) == [
        (f"{upper}_CREATED", category, "x", {}),
        (f"{upper}_UPDATED", category, "x", {"changed": columns}),
    ]
    leaks = "select from autoscaler.audit_logs l where l::text like %s"
    assert db.execute(leaks, (f"%{SECRET}%",)).fetchall() == []


def test_a_hands_move_is_audited_with_both_states_and_the_reason(db: Connection) -> None:
    node = node_in(db, "ACTIVE")
    db.execute("set local pgfleet.reason = 'being repaired'")

    db.execute("update autoscaler.nodes set status = 'OFFLINE' where id = %s", (node,))

    (*_, details) = audited(db, "node")[-1]
    assert details == {"changed": ["status"], "from": "ACTIVE", "to": "OFFLINE", "reason": "being repaired"}


def test_a_change_that_changes_nothing_is_not_audited(db: Connection) -> None:
    node = node_in(db, "ACTIVE")

    db.execute("update autoscaler.nodes set name = name where id = %s", (node,))

    assert [action for action, *_ in audited(db, "node")] == ["NODE_CREATED"]


def test_a_deletion_is_audited(db: Connection) -> None:
    node = node_in(db, "ACTIVE")

    db.execute("delete from autoscaler.nodes where id = %s", (node,))

    assert [action for action, *_ in audited(db, "node")] == ["NODE_CREATED", "NODE_DELETED"]


def test_the_auditor_is_named_by_role_where_the_autoscaler_knows_the_hand(db: Connection) -> None:
    db.execute("insert into autoscaler.users (email, full_name, role) values (session_user, 'Root', 'ADMIN')")

    db.execute("insert into autoscaler.nodes (name, region) values ('x', 'eu')")

    query = "select user_email = session_user, user_role, user_id is null from autoscaler.audit_logs order by id desc"
    assert db.execute(query).fetchone() == (True, "ADMIN", False)


def test_a_workers_writes_are_not_audited(db: Connection) -> None:
    db.execute("set local pgfleet.actor = 'worker-7'")
    cluster = create(db)
    add(db, cluster)
    db.execute("insert into autoscaler.nodes (name, region) values ('x', 'eu')")
    db.execute("update autoscaler.nodes set status = 'ACTIVE'")

    db.execute("delete from autoscaler.nodes")

    assert db.execute("select from autoscaler.audit_logs").fetchall() == []


@pytest.mark.parametrize("kind", ["reservation", "disk"])
def test_what_services_insert_is_audited_only_when_it_is_changed(db: Connection, kind: str) -> None:
    db.execute(
        "insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at)"
        " values ('r1', 'ada', 'pending', 1, now())"
    )
    db.execute("insert into public.disks (disk_name, user_id) values ('home', 'ada')")

    table = f"public.{kind}s"
    db.execute(f"update {table} set ticket = 5".encode())

    assert [(action, details) for action, _, _, details in audited(db, kind)] == [
        (f"{kind.upper()}_UPDATED", {"changed": ["ticket"]})
    ]
