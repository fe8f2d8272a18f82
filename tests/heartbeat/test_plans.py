"""What a batch of heartbeats touches among ten thousand nodes: no table that grows is read as a whole."""

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from worlds.fleet import until
from worlds.heartbeats import Heart, heart_in, pool

NODES = 10_000
GROWN = f"""
insert into autoscaler.nodes (id, name, region, status)
  select n, 'n' || n, 'eu', 'INACTIVE' from generate_series(1, {NODES}) n;
insert into autoscaler.pools (node_id, oracle_pool_id, name, region)
  select n, 'p' || n, 'p' || n, 'eu' from generate_series(1, {NODES}) n;
insert into autoscaler.node_heartbeats (node_id, status, heartbeat_id) select n, 'ok', gen_random_uuid()
  from generate_series(1, {NODES}) n;
insert into autoscaler.pool_analytics
  (pool_id, node_id, oracle_pool_id, current_instances, active_instances, avg_cpu_utilization, avg_memory_utilization)
  select id, node_id, oracle_pool_id, 1, 1, 1, 1 from autoscaler.pools;
insert into autoscaler.metrics (node_id, metric_type, value, unit) select n, 'x', 1, 'count'
  from generate_series(1, {NODES}) n;
insert into public.heartbeat_ids (id, sent_at) select gen_random_uuid(), now() from generate_series(1, {2 * NODES});
analyze;
"""
SCANS = """
select relname, seq_scan from pg_stat_user_tables
where relname ~ '^(node_heartbeats|pool_analytics|metrics|heartbeat_ids)(_|$)' or relname = 'status_history'
order by 1
"""
PAGES = "select blks_hit + blks_read from pg_stat_database where datname = current_database()"
WRITTEN = "select sum(n_tup_ins) from pg_stat_user_tables where relname ~ '^heartbeat_ids'"


def scans_and_pages(dsn: str, written: int) -> tuple[list[tuple[Any, ...]], int]:
    """Sequential scans of what grows, and all pages that were touched, as counted once so many ids were written."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        until(lambda: conn.execute(WRITTEN).fetchone() == (written,), within_s=20, what="the server's statistics")
        (pages,) = conn.execute(PAGES).fetchone() or (0,)
        return conn.execute(SCANS).fetchall(), pages


def test_500_heartbeats_among_10_000_nodes_read_no_growing_table_as_a_whole(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in GROWN.split(";\n"):
            conn.execute(statement.encode())
    before, pages_before = scans_and_pages(dsn, 2 * NODES)

    with heart_in(dsn) as heart:
        claims = [sent(heart, range(1, NODES, NODES // 500), ahead_s) for ahead_s in (-3, -2, -1)]
        assert [heart.worker.run_once(500) for _ in claims] == claims
    after, pages = scans_and_pages(dsn, 2 * NODES + sum(claims))

    assert after == before
    assert (pages - pages_before) / sum(claims) < 300


def sent(heart: Heart, nodes: range, ahead_s: float) -> int:
    beat = heart.beat(1, ahead_s, metrics={"cpu_percent": 5, "disk_gb": 7})
    bodies = [{**beat, "id": str(uuid_of(n, ahead_s)), "node_id": n, "pools": [pool(f"p{n}")]} for n in nodes]
    with heart.conn.cursor() as cursor:
        cursor.executemany(
            "insert into pgmq.q_node_heartbeats (vt, message) values (public.fleet_now(), %s)",
            [(Jsonb(body),) for body in bodies],
        )
    return len(bodies)


def uuid_of(node: int, ahead_s: float) -> str:
    return f"00000000-0000-4000-8000-{node:08d}{int(-ahead_s):04d}"
