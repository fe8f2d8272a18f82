"""Heartbeats per second through dramatiq, with all that the worker does, beside the raw set-based limit."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import psutil  # type: ignore[import-untyped]

from bench import database
from bench.drain import in_threads, rate, worker_of
from bench.figures import compared
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

NODES = 10_000
IDS_AT_ONCE = 1_000_000
# Counted twenty times a second: to look into each message took a third of the server's time. Nothing else is sent, as
# nothing is periodic.
LEFT = "select count(*) from pgmq.q_node_heartbeats"

# The pools are there from the beginning, for both.
FLEET = """
insert into autoscaler.nodes (name, region) select 'bench-' || n, 'bench' from generate_series(1, %(nodes)s) n;
insert into autoscaler.node_configurations (node_id, yaml_config) select id, 'pools: []' from autoscaler.nodes;
insert into autoscaler.pools (node_id, oracle_pool_id, name, region) select id, 'pool-' || id, 'pool', 'bench'
from autoscaler.nodes;
"""
NOTHING_PERIODIC = "delete from public.periodic;"
SET_UP = FLEET + NOTHING_PERIODIC

# Ids of heartbeats that were counted before, a thousand for each second of today.
TODAY = """
select public.make_day_partition('public.heartbeat_ids', 'at', (public.fleet_now() at time zone 'UTC')::date)
"""
COUNTED = """
insert into public.heartbeat_ids (id, sent_at)
select gen_random_uuid(), public.fleet_now() - make_interval(secs => (%(left)s - n) / 1000.0)
from generate_series(1, %(number)s) n
"""

# A heartbeat of each node in turn, one of a hundred with an error, each with a pool and two metrics.
SEND = """
insert into pgmq.q_node_heartbeats (vt, message)
select statement_timestamp(), jsonb_build_object(
  'action', 'heartbeat', 'source', 'autoscaler', 'id', gen_random_uuid(), 'node_id', 1 + n %% %(nodes)s,
  'sent_at', clock_timestamp(), 'status', case when n %% 100 = 0 then 'error' else 'ok' end,
  'config_hash', encode(sha256('pools: []'), 'hex'),
  'metrics', jsonb_build_object('cpu_percent', n %% 100, 'memory_percent', 40.5),
  'pools', jsonb_build_array(jsonb_build_object('oracle_pool_id', 'pool-' || 1 + n %% %(nodes)s, 'current_instances', 3,
    'active_instances', 2, 'avg_cpu_utilization', 12.5, 'avg_memory_utilization', 30)))
from generate_series(%(first)s, %(last)s) n;
"""
FILL = f"""
truncate pgmq.q_node_heartbeats, autoscaler.node_heartbeats, autoscaler.metrics, autoscaler.pool_analytics,
  autoscaler.node_lifecycle_logs, public.status_history;
{SEND}"""

CHECK = """
select
  (select count(distinct heartbeat_id) from autoscaler.node_heartbeats),
  (select count(*) from autoscaler.metrics),
  (select count(*) from autoscaler.pool_analytics),
  (select count(*) from pgmq.q_node_heartbeats),
  (select count(*) from public.dead_letters where queue = 'node_heartbeats')
"""

CLAIM = """
with picked as (
  select msg_id from pgmq.q_node_heartbeats where vt <= clock_timestamp() order by vt, msg_id
  limit %s for update skip locked
), claimed as (
  update pgmq.q_node_heartbeats q set vt = clock_timestamp() + interval '90 seconds', read_ct = q.read_ct + 1
  from picked where q.msg_id = picked.msg_id returning q.msg_id, q.message
)
select array_agg(msg_id), jsonb_agg(message)::text from claimed
"""
RAW = (
    """
    insert into autoscaler.node_heartbeats (node_id, config_hash, status, metrics_data, heartbeat_id, sent_at)
    select node_id, config_hash, status, metrics::text, id, sent_at from jsonb_to_recordset(%(beats)s::jsonb)
      b (id uuid, node_id integer, sent_at timestamptz, status text, config_hash text, metrics jsonb)
    """,
    """
    insert into autoscaler.metrics (node_id, metric_type, value, unit)
    select node_id, m.key, m.value::float8, 'percent'
    from jsonb_to_recordset(%(beats)s::jsonb) b (node_id integer, metrics jsonb), jsonb_each(metrics) m
    """,
    """
    update autoscaler.nodes n set last_heartbeat = b.sent_at, config_hash = b.config_hash
    from (select distinct on (node_id) * from jsonb_to_recordset(%(beats)s::jsonb)
      b (node_id integer, sent_at timestamptz, config_hash text) order by node_id, sent_at desc) b
    where n.id = b.node_id
    """,
    """
    insert into autoscaler.pools as known (node_id, oracle_pool_id, name, region, current_instances)
    select distinct on (oracle_pool_id) b.node_id, p.oracle_pool_id, '', '', p.current_instances
    from jsonb_to_recordset(%(beats)s::jsonb) b (node_id integer, pools jsonb),
      jsonb_to_recordset(pools) p (oracle_pool_id text, current_instances integer)
    order by oracle_pool_id
    on conflict (oracle_pool_id) do update set current_instances = excluded.current_instances
    """,
    """
    insert into autoscaler.pool_analytics (pool_id, node_id, oracle_pool_id, current_instances, active_instances,
      avg_cpu_utilization, avg_memory_utilization)
    select known.id, b.node_id, p.oracle_pool_id, p.current_instances, p.active_instances, p.avg_cpu_utilization,
      p.avg_memory_utilization
    from jsonb_to_recordset(%(beats)s::jsonb) b (node_id integer, pools jsonb),
      jsonb_to_recordset(pools) p (oracle_pool_id text, current_instances integer, active_instances integer,
        avg_cpu_utilization float8, avg_memory_utilization float8)
    join autoscaler.pools known using (oracle_pool_id)
    """,
)
# Moves are guarded and logged, and what others than workers change is audited: a limit does neither.
GUARDED = ("autoscaler.nodes", "autoscaler.pools")
DELETE = "delete from pgmq.q_node_heartbeats where msg_id = any(%(ids)s)"


def measure(*, number: int = 100_000, rounds: int = 3, threads: int = 2, ids: int = 1_000_000) -> dict[str, Any]:
    """Alternate raw and pgfleet on the same server, verify each run, and compare the medians.

    So many `ids` were counted before, and WAL is counted from a checkpoint on, which is the most that it can be.
    """
    with _fleet() as (dsn, conn):
        _count_before(conn, ids)
        wal_bytes = []

        def ours() -> float:
            figures = _pgfleet(conn, dsn, number, threads)
            wal_bytes.append(figures["wal_bytes"])
            return float(figures["per_s"])

        figures = compared(
            "raw_set_based", lambda: max(_raw(conn, dsn, number, raw_threads) for raw_threads in (1, 2)), ours, rounds
        )
        kept = {"ids": ids, "wal_bytes": median(wal_bytes)}
        return {"bench": "heartbeats", "messages": number, **figures, **kept, "where": database.where(dsn)}


def memory(*, number: int = 1_000_000, threads: int = 2) -> dict[str, Any]:
    """The worker's resident memory while it takes a million heartbeats."""
    with _fleet() as (dsn, conn):
        return {"bench": "heartbeats_memory", "messages": number, **_pgfleet(conn, dsn, number, threads)}


@contextmanager
def _fleet() -> Iterator[tuple[str, Connection]]:
    with database.temporary() as dsn, open_session(dsn, autocommit=True, longest_s=None) as conn:
        conn.execute(SET_UP % {"nodes": NODES})
        yield dsn, conn


def _count_before(conn: Connection, ids: int) -> None:
    conn.execute(TODAY)
    for left in range(ids, 0, -IDS_AT_ONCE):
        conn.execute(COUNTED, {"left": left, "number": min(left, IDS_AT_ONCE)})
    conn.execute("vacuum analyze public.heartbeat_ids")


def _fill(conn: Connection, number: int) -> None:
    conn.execute(FILL % {"nodes": NODES, "first": 1, "last": number})
    conn.execute("vacuum analyze pgmq.q_node_heartbeats")
    conn.execute("vacuum analyze autoscaler.nodes")
    conn.execute("checkpoint")


def _raw(conn: Connection, dsn: str, number: int, threads: int) -> float:
    _fill(conn, number)
    for table in GUARDED:
        conn.execute(f"alter table {table} disable trigger user".encode())
    seconds = in_threads(threads, lambda: _drain(dsn))
    for table in GUARDED:
        conn.execute(f"alter table {table} enable trigger user".encode())
    _verify(conn, number)
    return number / seconds


def _drain(dsn: str) -> None:
    with open_session(dsn, autocommit=True, prepare_threshold=5) as conn:
        while True:
            ids, beats = conn.execute(CLAIM, (500,)).fetchone() or (None, None)
            if ids is None:
                return
            with conn.pipeline(), conn.transaction():
                for statement in RAW:
                    conn.execute(statement, {"beats": beats})
                conn.execute(DELETE, {"ids": ids})


def _pgfleet(conn: Connection, dsn: str, number: int, threads: int) -> dict[str, Any]:
    _fill(conn, number)
    resident: list[int] = []
    wal_before = database.wal_bytes(conn)
    with worker_of("pgfleet.workers.heartbeat", dsn, threads) as worker:
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(worker, resident, done))
        watcher.start()
        per_s = rate(conn, worker, LEFT, number, deadline_s=max(300, number / 500))
        done.set()
        watcher.join()
    wal_bytes = database.wal_bytes(conn) - wal_before
    _verify(conn, number)
    tenth = max(1, len(resident) // 10)
    return {
        "per_s": round(per_s),
        "wal_bytes": round(wal_bytes / number),
        "resident_mb_first_tenth": round(max(resident[:tenth], default=0) / 1024),
        "resident_mb_last_tenth": round(max(resident[-tenth:], default=0) / 1024),
    }


def _watch(worker: subprocess.Popen[bytes], resident: list[int], done: threading.Event) -> None:
    """KiB of the worker's process, which is dramatiq's child, twice a second."""
    while not done.wait(0.5):
        try:
            children = psutil.Process(worker.pid).children()
            resident.append(max((child.memory_info().rss // 1024 for child in children), default=0))
        except psutil.NoSuchProcess:
            return


def _verify(conn: Connection, number: int) -> None:
    found = conn.execute(CHECK).fetchone()
    assert found == (number, 2 * number, number, 0, 0), found
