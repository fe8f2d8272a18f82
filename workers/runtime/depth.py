"""Queue depth for Prometheus, read every so often by a thread of its own."""

import threading
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Identifier
from psycopg_pool import ConnectionPool, PoolTimeout

from pgfleet.schema.queue.kernel import Connection
from pgfleet.workers.runtime import metrics

EVERY_S = 15

DEPTH: LiteralString = """
select
  count(*) filter (where vt <= public.fleet_now()),
  count(*) filter (where vt > public.fleet_now() and read_ct = 0),
  count(*) filter (where vt > public.fleet_now() and read_ct > 0),
  coalesce(extract(epoch from public.fleet_now() - min(vt) filter (where vt <= public.fleet_now())), 0)::float8
from {}
"""


def watch_depth(pool: ConnectionPool[Connection], queues: list[str], stopping: threading.Event) -> None:
    """Keep the gauges of some queues current until `stopping` is set."""

    def run() -> None:
        while not stopping.is_set():
            for queue in queues:
                _read(pool, queue)
            stopping.wait(EVERY_S)

    threading.Thread(target=run, name="depth", daemon=True).start()


def _read(pool: ConnectionPool[Connection], queue: str) -> None:
    statement = SQL(DEPTH).format(Identifier("pgmq", f"q_{queue}"))
    try:
        with pool.connection(timeout=5) as conn:
            row = conn.execute(statement).fetchone()
    except (psycopg.OperationalError, PoolTimeout):
        return
    if row:
        for state, number in zip(("ready", "delayed", "in_hand"), row[:3], strict=True):
            metrics.DEPTH.labels(queue, state).set(number)
        metrics.OLDEST_READY.labels(queue).set(row[3])
