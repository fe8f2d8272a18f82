"""What each role may do is listed, and it is no more; a worker of one kind has nothing of another's."""

import psycopg
import pytest
from psycopg import sql

from pgfleet.console import rights
from pgfleet.schema.database.migrate import lacking_roles, migrate
from pgfleet.schema.kinds import contracts
from worlds.database import Connection, owner_and_worker

KINDS = sorted(contracts())
SECRETS = [
    ("disk", "select api_key from hopsworks.hopsworks_clusters"),
    ("disk", "select kubeconfig from hopsworks.hopsworks_clusters"),
    ("disk", "select env_vars from public.reservations"),
    ("reservation", "select api_key from hopsworks.hopsworks_clusters"),
    ("heartbeat", "select env_vars from public.reservations"),
    ("heartbeat", "select message from public.dead_letters"),
    ("heartbeat", "select message from pgmq.q_gpu_reservations"),
    ("heartbeat", "select email from hopsworks.users"),
    ("assignment", "select env_vars from public.reservations"),
    ("assignment", "select yaml_config from autoscaler.node_configurations"),
]
FORGERIES = [
    "insert into public.status_history (machine, row_id, from_status) values ('x', 'x', 'x')",
    "insert into autoscaler.audit_logs (action) values ('x')",
    "insert into public.pauses (what) values ('deletes')",
    "update public.database_identity set timeline = 'x'",
    "delete from public.moves",
]


def act_as(conn: Connection, role: str) -> None:
    conn.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))


def test_the_list_of_rights_is_what_the_database_gives(shared: Connection) -> None:
    assert rights.render(shared) == rights.PAGE.read_text("utf-8"), "run make generated, and read what has changed"


@pytest.mark.parametrize(("kind", "statement"), SECRETS)
def test_a_worker_reads_nothing_of_other_kinds(db: Connection, kind: str, statement: str) -> None:
    act_as(db, f"pgfleet_worker_{kind}")

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(statement.encode())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("statement", FORGERIES)
def test_a_worker_writes_no_history_and_pauses_nothing(db: Connection, kind: str, statement: str) -> None:
    act_as(db, f"pgfleet_worker_{kind}")

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(statement.encode())


@pytest.mark.parametrize(
    ("role", "queue", "action"),
    [
        ("pgfleet_user", "gpu_reservations", "cancel"),
        ("pgfleet_user", "disk_operations", "delete_disk"),
        ("pgfleet_sender", "cluster_assignments", "release"),
        ("pgfleet_sender", "node_heartbeats", "heartbeat"),
    ],
)
def test_who_may_send_to_a_queue_does_with_row_level_security_off(
    db: Connection, role: str, queue: str, action: str
) -> None:
    act_as(db, role)

    sent = db.execute("select pgmq.send(%s, jsonb_build_object('action', %s::text))", (queue, action)).fetchone()

    assert sent is not None


@pytest.mark.parametrize(
    ("role", "queue"),
    [
        ("pgfleet_user", "cluster_assignments"),
        ("pgfleet_user", "node_heartbeats"),
        ("pgfleet_node", "gpu_reservations"),
        ("pgfleet_monitor", "gpu_reservations"),
        ("pgfleet_worker", "gpu_reservations"),
    ],
)
def test_nobody_else_sends_there(db: Connection, role: str, queue: str) -> None:
    act_as(db, role)

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("select pgmq.send(%s, '{}'::jsonb)", (queue,))


def test_a_user_reads_no_table_while_row_level_security_is_off(db: Connection) -> None:
    act_as(db, "pgfleet_user")

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("select reservation_id from public.reservations")


def test_who_may_make_no_roles_migrates_all_the_same_and_is_told_what_is_missing(server_dsn: str) -> None:
    with owner_and_worker(server_dsn) as (owner_dsn, _), psycopg.connect(server_dsn, autocommit=True) as admin:
        login = psycopg.conninfo.conninfo_to_dict(owner_dsn)["user"]
        admin.execute(sql.SQL("alter role {} nocreaterole").format(sql.Identifier(str(login))))
        migrate(owner_dsn)
        with psycopg.connect(owner_dsn, autocommit=True) as owner:
            owner.execute("create view public.rights_of_nothing as select * from public.rights_of_runtime where false")

            migrate(owner_dsn)

            assert lacking_roles(owner) == [
                "create role pgfleet_worker_nothing nologin;",
                "grant pgfleet_worker to pgfleet_worker_nothing;",
            ]
