"""What nodes say, in hypertables: rows, rights, a node's end, days that are over, and the way back.

Each statement has a session of its own, as the server may have but one.
"""

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgfleet.schema.database.migrate import MigrationFailed, migrate
from pgfleet.schema.database.missing import missing, verify
from pgfleet.schema.errors import FleetError
from pgfleet.schema.nodes.telemetry import Engine, put_telemetry

DAYS = 5
TABLES = (
    "autoscaler.metrics",
    "autoscaler.node_heartbeats",
    "autoscaler.pool_analytics",
    "clusters.cluster_metrics",
)
# Three nodes with a row a minute, of whole days until three days ago.
PAST = """
truncate autoscaler.nodes cascade;
insert into autoscaler.nodes (name, region) select 'n' || n, 'r' from generate_series(1, 3) n;
insert into autoscaler.node_heartbeats (node_id, status, metrics_data, timestamp, heartbeat_id, sent_at)
select n.id, 'ok', '{"cpu_percent": 40.5, "memory_percent": 12}', t, gen_random_uuid(), t at time zone 'UTC'
from autoscaler.nodes n, generate_series(
  date_trunc('day', public.fleet_now() at time zone 'UTC') - interval '8 days',
  date_trunc('day', public.fleet_now() at time zone 'UTC') - interval '3 days 1 minute', '1 minute') t;
insert into autoscaler.metrics (node_id, metric_type, value, unit, timestamp)
select node_id, 'cpu_percent', 40.5, 'percent', timestamp from autoscaler.node_heartbeats;
update public.retention set keep = '30 days', next_at = 'infinity'
"""
# Jobs run by themselves where the server has processes for them.
COMPRESS = """
do $$
declare
  job integer;
begin
  for job in select job_id from timescaledb_information.jobs where proc_name = 'policy_compression' loop
    call public.run_job(job);
  end loop;
end
$$
"""
BYTES = "select sum(pg_total_relation_size(c)) from public.show_chunks('autoscaler.node_heartbeats') c"
COMPRESSED = (
    "select count(*) from timescaledb_information.chunks where hypertable_name = 'node_heartbeats' and is_compressed"
)
BEATS = "select count(*), min(timestamp), max(timestamp), count(distinct heartbeat_id) from autoscaler.node_heartbeats"


@pytest.fixture(scope="module")
def dsn(pytestconfig: pytest.Config) -> str:
    given: str = pytestconfig.getoption("--postgres")
    migrate(given)
    return given


@pytest.fixture(autouse=True)
def _past(dsn: str) -> None:
    put_telemetry(dsn, Engine.PLAIN)
    for statement in PAST.strip().split(";\n"):
        ask(dsn, statement)


def ask(dsn: str, statement: Any, role: str = "none") -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as conn:
        conn.execute("select set_config('role', %s, false), set_config('search_path', '', false)", (role,))
        cursor = conn.execute(statement)
        return cursor.fetchall() if cursor.description else []


def one(dsn: str, statement: str) -> Any:
    return ask(dsn, statement)[0][0]


def beat(dsn: str, node: int) -> None:
    """A heartbeat as the worker takes it, in its role."""
    sent_at = one(dsn, "select public.fleet_now()").isoformat()
    pool = {"oracle_pool_id": f"pool-{node}", "current_instances": 3, "active_instances": 2}
    pool |= {"avg_cpu_utilization": 1.5, "avg_memory_utilization": 2.5}
    said = {"id": str(uuid.uuid4()), "node_id": node, "sent_at": sent_at, "status": "ok", "metrics": {"cpu_percent": 3}}
    taken = ask(
        dsn,
        f"select * from autoscaler.take_heartbeats('[{json.dumps({**said, 'pools': [pool]})}]')",
        "pgfleet_worker_heartbeat",
    )
    assert taken == []


def test_all_rows_are_there_and_nothing_of_the_schema_is_missing(dsn: str) -> None:
    before = ask(dsn, BEATS)

    assert sorted(put_telemetry(dsn, Engine.TIMESCALEDB)) == list(TABLES)

    assert ask(dsn, BEATS) == before
    assert before[0][0] == 3 * DAYS * 24 * 60
    with psycopg.connect(dsn) as conn:
        assert missing(conn) == []
        assert verify(conn) == []
    assert migrate(dsn) == []
    assert put_telemetry(dsn, Engine.TIMESCALEDB) == []


def test_a_worker_goes_on_taking_heartbeats_and_others_read_them(dsn: str) -> None:
    put_telemetry(dsn, Engine.TIMESCALEDB)
    node = one(dsn, "select min(id) from autoscaler.nodes")

    beat(dsn, node)

    for table in TABLES[:3]:
        last = f"select count(*) from {table} where node_id = {node} and timestamp > now() - interval '1 day'"
        assert ask(dsn, last, "pgfleet_monitor") == [(1,)]
    assert one(dsn, f"select status::text from autoscaler.nodes where id = {node}") == "ACTIVE"


def test_a_day_that_is_over_is_compressed_to_a_tenth_and_read_and_written_as_before(dsn: str) -> None:
    put_telemetry(dsn, Engine.TIMESCALEDB)
    before, bytes_before = ask(dsn, BEATS), one(dsn, BYTES)

    ask(dsn, COMPRESS)

    assert one(dsn, COMPRESSED) == DAYS
    assert ask(dsn, BEATS) == before
    assert one(dsn, BYTES) < bytes_before / 10
    first = "(select min(id) from autoscaler.node_heartbeats)"
    ask(dsn, f"update autoscaler.node_heartbeats set status = 'late' where id = {first}")
    assert ask(dsn, BEATS) == before


def test_a_node_that_is_deleted_takes_its_compressed_rows_with_it(dsn: str) -> None:
    put_telemetry(dsn, Engine.TIMESCALEDB)
    ask(dsn, COMPRESS)
    node = one(dsn, "select min(id) from autoscaler.nodes")

    ask(dsn, f"delete from autoscaler.nodes where id = {node}")

    assert one(dsn, "select count(*) from autoscaler.node_heartbeats") == 2 * DAYS * 24 * 60
    assert one(dsn, f"select count(*) from autoscaler.metrics where node_id = {node}") == 0
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        ask(dsn, f"insert into autoscaler.node_heartbeats (node_id, status) values ({node}, 'ok')")


def test_days_that_are_too_old_are_dropped_whole_and_no_others(dsn: str) -> None:
    put_telemetry(dsn, Engine.TIMESCALEDB)
    ask(dsn, COMPRESS)
    keep = "keep = '6 days', next_at = '-infinity'"
    ask(dsn, f"update public.retention set {keep} where table_name = 'autoscaler.node_heartbeats'")

    assert one(dsn, "select public.keep_house()") == "autoscaler.node_heartbeats"

    assert one(dsn, "select problem from public.retention where table_name = 'autoscaler.node_heartbeats'") is None
    assert one(dsn, "select count(*) from autoscaler.node_heartbeats") == 3 * 3 * 24 * 60
    assert one(dsn, "select count(*) from autoscaler.metrics") == 3 * DAYS * 24 * 60


def test_it_goes_back_to_tables_by_days_as_it_was(dsn: str) -> None:
    before = ask(dsn, BEATS)
    put_telemetry(dsn, Engine.TIMESCALEDB)
    ask(dsn, COMPRESS)

    assert sorted(put_telemetry(dsn, Engine.PLAIN)) == list(TABLES)

    assert ask(dsn, BEATS) == before
    assert one(dsn, "select count(*) from autoscaler.node_heartbeats_default") == 0
    with psycopg.connect(dsn) as conn:
        assert missing(conn) == []
    assert migrate(dsn) == []
    ask(dsn, "update public.retention set next_at = '-infinity' where table_name = 'autoscaler.node_heartbeats'")
    assert one(dsn, "select public.keep_house()") == "autoscaler.node_heartbeats"
    beat(dsn, one(dsn, "select min(id) from autoscaler.nodes"))


def test_row_level_security_and_hypertables_refuse_each_other(dsn: str) -> None:
    migrate(dsn, rls=True)
    with pytest.raises(FleetError, match=r"stays where it is: row level security is on.*--no-rls"):
        put_telemetry(dsn, Engine.TIMESCALEDB)
    migrate(dsn, rls=False)
    put_telemetry(dsn, Engine.TIMESCALEDB)
    with pytest.raises(MigrationFailed, match="not supported on hypertables"):
        migrate(dsn, rls=True)


def test_the_command_says_what_it_has_put_where(dsn: str) -> None:
    told = [
        subprocess.run(
            [Path(sys.executable).with_name("pgfleet"), "migrate", f"--telemetry={engine}"],
            env={**os.environ, "DATABASE_URL": dsn},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for engine in ("timescaledb", "timescaledb", "plain")
    ]

    assert "put autoscaler.metrics (timescaledb)\n" in told[0]
    assert "telemetry is timescaledb already" in told[1]
    assert "put clusters.cluster_metrics (plain)\n" in told[2]


def test_tables_and_jobs_stay_their_owner_s_who_has_to_have_a_login_for_them(dsn: str) -> None:
    """Last, as nothing gives them back. The server in WebAssembly takes no grant on its one database."""
    give = one(dsn, "select prosrc from pg_proc where proname = 'give_to_migrator'")
    ask(dsn, f"do $do${re.sub('execute format..grant create on database[^;]*;', '', give)}$do$")
    with pytest.raises(FleetError, match=r"pgfleet_migrator.*LOGIN"):
        put_telemetry(dsn, Engine.TIMESCALEDB)
    ask(dsn, "alter role pgfleet_migrator login")

    put_telemetry(dsn, Engine.TIMESCALEDB)

    owners = "select distinct tableowner from pg_tables where schemaname in ('autoscaler', 'clusters')"
    assert ask(dsn, owners) == [("pgfleet_migrator",)]
    assert ask(dsn, "select distinct owner::text from timescaledb_information.jobs where job_id >= 1000") == [
        ("pgfleet_migrator",)
    ]
