"""Every statement of the five documents that changes something does what they say, as it stands."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from worlds.database import Connection
from worlds.documented import CLUSTER, documented_database, rows, with_ids

INCREMENT = """
CREATE OR REPLACE FUNCTION increment_cluster_users(cluster_id UUID)
RETURNS void AS $$
BEGIN
  UPDATE hopsworks_clusters
  SET current_users = current_users + 1
  WHERE id = cluster_id;
END;
$$ LANGUAGE plpgsql;
"""
DECREMENT = """
CREATE OR REPLACE FUNCTION decrement_cluster_users(cluster_id UUID)
RETURNS void AS $$
BEGIN
  UPDATE hopsworks_clusters
  SET current_users = GREATEST(current_users - 1, 0)
  WHERE id = cluster_id;
END;
$$ LANGUAGE plpgsql;
"""
MY_NEW_TABLE = """
CREATE TABLE IF NOT EXISTS my_new_table (
    id SERIAL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_my_new_table_name
    ON my_new_table(name);
"""
LAST_LOGIN = """
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM information_schema.columns
        WHERE table_name = 'api_users'
        AND column_name = 'last_login'
    ) THEN
        ALTER TABLE api_users ADD COLUMN last_login TIMESTAMP WITH TIME ZONE;
    END IF;
END $$;
"""
OWN_DATA = """
ALTER TABLE users ENABLE ROW LEVEL SECURITY;

CREATE POLICY "Users can view own data" ON users
  FOR SELECT USING (auth.uid() = id);
"""
SCHEMA_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  version TEXT PRIMARY KEY,
  applied_at TIMESTAMPTZ DEFAULT NOW()
);
"""
# The columns that the document leaves to the reader's imagination are filled in.
GPU_TYPE = """
INSERT INTO gpu_types (gpu_type, instance_type, max_gpus, cpus, memory_gb)
VALUES ('h100', 'p5.48xlarge.new', 8, 192, 2048)
ON CONFLICT (gpu_type) DO UPDATE SET
    instance_type = EXCLUDED.instance_type,
    updated_at = NOW();
"""
CREATE_CLUSTER = """
SELECT create_cluster(
  p_name := 'Production Cluster',
  p_description := 'Main production cluster',
  p_region := 'us-east-1',
  p_config := '{"auto_scaling": true}',
  p_max_nodes := 20,
  p_max_tenants := 1000
);
"""
ADD_NODE = """
SELECT add_cluster_node(
  p_cluster_id := 'cluster-a1b2c3d4-...',
  p_name := 'Worker Node 1',
  p_region := 'us-east-1',
  p_capacity_cpu := 8.0,
  p_capacity_memory_gb := 32.0,
  p_roles := ARRAY['worker', 'processing']
);
"""
UPDATE_NODE = """
SELECT update_node_status(
  p_node_id := 'node-a1b2c3d4-...-1-1i2j3k4l',
  p_status := 'online',
  p_health_status := 'healthy',
  p_metrics := '{"cpu_usage_percent": 65.2}'
);
"""
EVENTS = """
SELECT get_cluster_events(
  p_cluster_id := 'cluster-a1b2c3d4-...',
  p_severity := 'error',
  p_limit := 50
);
"""
METRICS = """
SELECT record_cluster_metrics(
  p_cluster_id := 'cluster-a1b2c3d4-...',
  p_node_id := 'node-a1b2c3d4-...-1-1i2j3k4l',
  p_metrics := '{"cpu_usage": 4.2, "memory_usage": 16.8}'
);
"""


@pytest.fixture(scope="module")
def documented(server_dsn: str) -> Iterator[Connection]:
    with documented_database(server_dsn) as conn:
        yield conn


@pytest.fixture
def db(documented: Connection) -> Iterator[Connection]:
    """The documented database, in a transaction that is rolled back."""
    with documented.transaction(force_rollback=True):
        yield documented


def seats(conn: Connection) -> Any:
    return rows(conn, f"select current_users, status from hopsworks_clusters where id = '{CLUSTER}'")[0]


def call(conn: Connection, printed: str) -> Any:
    return rows(conn, with_ids(conn, printed))[0][0]


def test_an_operator_sets_a_cluster_aside(db: Connection) -> None:
    db.execute("""
        UPDATE hopsworks_clusters
        SET status = 'maintenance'
        WHERE id = '123e4567-e89b-12d3-a456-426614174000';""")

    assert seats(db) == (2, "maintenance")


@pytest.mark.parametrize("as_printed", [False, True])
def test_seats_are_counted_up_to_full_and_down_to_none(db: Connection, *, as_printed: bool) -> None:
    if as_printed:
        db.execute(INCREMENT)
        db.execute(DECREMENT)

    db.execute("select increment_cluster_users(%s)", (CLUSTER,))
    assert seats(db) == (3, "full")
    for _ in range(4):
        db.execute("select decrement_cluster_users(%s)", (CLUSTER,))
    assert seats(db) == (0, "active")


@pytest.mark.parametrize("as_printed", [False, True])
def test_a_seat_past_the_last_is_refused(db: Connection, *, as_printed: bool) -> None:
    if as_printed:
        db.execute(INCREMENT)
    db.execute("select increment_cluster_users(%s)", (CLUSTER,))

    with pytest.raises(psycopg.Error, match="all seats of Hopsworks cluster us-east-1-prod are taken") as refused:
        db.execute("select increment_cluster_users(%s)", (CLUSTER,))

    assert refused.value.sqlstate == "PF409"


def test_the_table_of_migrations_is_there_already(db: Connection) -> None:
    db.execute(SCHEMA_MIGRATIONS)

    assert rows(db, "select count(*) > 20, count(applied_at) = count(*) from schema_migrations") == [(True, True)]


def test_users_see_their_own_data_by_the_printed_policy(db: Connection) -> None:
    db.execute(OWN_DATA)
    db.execute('create role "auth0|123"')
    db.execute('grant usage on schema hopsworks to "auth0|123"')
    db.execute('grant select on users to "auth0|123"')

    db.execute('set local session authorization "auth0|123"')

    assert rows(db, "select id from users") == [("auth0|123",)]


def test_a_table_that_somebody_adds_goes_to_public(db: Connection) -> None:
    db.execute(MY_NEW_TABLE)

    assert rows(db, "select to_regclass('public.idx_my_new_table_name') is null") == [(False,)]


def test_a_column_that_somebody_adds_is_added_once(db: Connection) -> None:
    db.execute(LAST_LOGIN)
    db.execute(LAST_LOGIN)

    assert rows(db, "select last_login from public.api_users") == []


def test_a_fixture_of_ones_own_changes_the_type_that_is_there(db: Connection) -> None:
    db.execute(GPU_TYPE)

    assert rows(db, "select instance_type, total_cluster_gpus from gpu_types where gpu_type = 'h100'") == [
        ("p5.48xlarge.new", 16)
    ]


def test_create_cluster_answers_with_the_new_id(db: Connection) -> None:
    cluster = call(db, CREATE_CLUSTER)

    query = "select name, description, region, config -> 'auto_scaling', max_nodes, max_tenants, max_storage_gb"
    assert re.fullmatch(r"cluster-[a-z0-9]{8}(-\d+){6}-[a-z0-9]{8}", cluster)
    assert rows(db, f"{query} from clusters where cluster_id = '{cluster}'") == [
        ("Production Cluster", "Main production cluster", "us-east-1", True, 20, 1000, 100)
    ]


def test_add_cluster_node_answers_with_the_new_id(db: Connection) -> None:
    node = call(db, ADD_NODE)

    query = "select name, region, capacity_cpu, capacity_memory_gb, roles, status from cluster_nodes"
    assert re.fullmatch(r"node-[a-z0-9]{8}-\d{4}-\d\d-\d\d-3-[a-z0-9]{8}", node)
    assert rows(db, f"{query} where node_id = '{node}'") == [
        ("Worker Node 1", "us-east-1", 8.0, 32.0, ["worker", "processing"], "provisioning")
    ]


def test_update_node_status_answers_with_the_node(db: Connection) -> None:
    node = call(db, UPDATE_NODE)

    assert (node["status"], node["health_status"], node["cpu_usage_percent"]) == ("online", "healthy", 65.2)


def test_promote_to_primary_answers_with_the_epoch(db: Connection) -> None:
    answer = call(db, "SELECT promote_to_primary('node-a1b2c3d4-...-1-1i2j3k4l');")

    assert set(answer) == {"cluster_id", "primary_node_id", "previous_primary_node_id", "epoch"}


def test_decommissioning_a_cluster_in_use_is_refused_unless_forced(db: Connection) -> None:
    printed = "SELECT decommission_cluster('cluster-a1b2c3d4-...', false);"

    with pytest.raises(psycopg.Error, match="still has 2 nodes and 0 tenants") as refused, db.transaction():
        call(db, printed)

    assert refused.value.sqlstate == "PF006"
    assert call(db, printed.replace("false", "true"))["nodes"] == 2


def test_events_of_a_severity_are_listed(db: Connection) -> None:
    # Node two of the documented cluster is critical.
    events = rows(db, with_ids(db, EVENTS))

    assert len(events) == 1


def test_record_cluster_metrics_answers_with_an_id(db: Connection) -> None:
    metric_id = call(db, METRICS)

    ((metrics,),) = rows(db, f"select metrics from cluster_metrics where metric_id = {metric_id}")
    assert metrics == {"cpu_usage": 4.2, "memory_usage": 16.8}


def test_the_summary_of_all_holds_what_the_documents_console_reads(db: Connection) -> None:
    summary = call(db, "SELECT get_cluster_health_summary();")

    assert summary["total_clusters"] == 1
    # (1 healthy - 0.3 * 1 critical) / 2
    assert summary["clusters"][0]["health_score"] == pytest.approx(0.35)


def test_the_information_on_a_cluster_has_its_nodes(db: Connection) -> None:
    info = call(db, "SELECT get_cluster_info('cluster-a1b2c3d4-...');")

    assert [(node["status"], node["is_primary"]) for node in info["nodes"]] == [("online", True), ("online", False)]
