"""What a worker counts, for Prometheus; the depth of its queues is read every so often by a thread of its own."""

import threading
from typing import LiteralString

import psycopg
from prometheus_client import Counter, Gauge, Histogram
from psycopg.sql import SQL, Identifier

from pgfleet.schema.database.pool import Pool

CLAIMED = Counter("pgfleet_claimed_total", "Messages claimed", ["queue"])
SETTLED = Counter("pgfleet_settled_total", "Messages settled, by outcome", ["queue", "outcome"])
LEASES_LOST = Counter("pgfleet_leases_lost_total", "Messages whose lease ended before they were settled", ["queue"])
STALE = Counter("pgfleet_stale_total", "Decisions made again because the row had changed", ["queue"])
SETTLE_SECONDS = Histogram(
    "pgfleet_settle_seconds",
    "Time to settle one batch, commit included",
    ["queue"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
STEP_SECONDS = Histogram(
    "pgfleet_step_seconds",
    "Time of one step with its effects",
    ["queue"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60),
)
READY = Gauge("pgfleet_ready", "1 while this process takes messages of the queue", ["queue"])
IN_HAND = Gauge("pgfleet_in_hand", "Messages that this process has claimed and not settled", ["queue"])
DEPTH = Gauge("pgfleet_queue_messages", "Messages in the queue, by state", ["queue", "state"])
OLDEST_READY = Gauge("pgfleet_oldest_ready_age_seconds", "Age of the oldest message that is due", ["queue"])
OUTAGE = Gauge("pgfleet_outage", "1 while a dependency does not answer these calls", ["dependency", "calls"])
PAUSED = Gauge("pgfleet_paused", "1 while an operator holds it back: a queue, or all deletions outside", ["what"])
ALIVE = Gauge("pgfleet_nodes_alive", "Nodes that are neither offline nor new, at the last sweep", ["machine"])
HELD_BACK = Gauge(
    "pgfleet_offline_sweep_held_back", "1 while silent nodes are not marked offline, for a reason", ["machine"]
)
BELIEVED_AT = Gauge(
    "pgfleet_offline_believed_timestamp_seconds",
    "When nodes were last marked offline although most were silent at once; 0 for never",
    ["machine"],
)

WATCH_CONNECTED = Gauge("pgfleet_watch_connected", "1 while what happens in the cluster is seen at once", ["resource"])

DEPTH_EVERY_S = 15

SELECT_DEPTH: LiteralString = """
select
  count(*) filter (where vt <= public.fleet_now()),
  count(*) filter (where vt > public.fleet_now() and read_ct = 0),
  count(*) filter (where vt > public.fleet_now() and read_ct > 0),
  coalesce(extract(epoch from public.fleet_now()
    - min(greatest(vt, enqueued_at)) filter (where vt <= public.fleet_now())), 0)::float8
from {}
"""


def watch_depth(pool: Pool, queues: list[str], stopping: threading.Event) -> threading.Thread:
    """Keep the gauges of some queues current until `stopping` is set."""

    def run() -> None:
        while not stopping.is_set():
            for queue in queues:
                _read(pool, queue)
            _read_pauses(pool, [*queues, "deletes"])
            stopping.wait(DEPTH_EVERY_S)

    thread = threading.Thread(target=run, name="depth", daemon=True)
    thread.start()
    return thread


def _read(pool: Pool, queue: str) -> None:
    statement = SQL(SELECT_DEPTH).format(Identifier("pgmq", f"q_{queue}"))
    try:
        with pool.connection(timeout=5) as conn:
            row = conn.execute(statement).fetchone()
    except psycopg.Error:
        return
    if row:
        for state, number in zip(("ready", "delayed", "in_hand"), row[:3], strict=True):
            DEPTH.labels(queue, state).set(number)
        OLDEST_READY.labels(queue).set(row[3])


def _read_pauses(pool: Pool, watched: list[str]) -> None:
    try:
        with pool.connection(timeout=5) as conn:
            paused = {what for (what,) in conn.execute("select what from public.pauses")}
    except psycopg.Error:
        return
    for what in watched:
        PAUSED.labels(what).set(what in paused)
