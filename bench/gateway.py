"""Heartbeats a second into the queue: in the gateway's batches, one by one on held sessions, and connecting each time.

Each is on disk before its node is answered. Afterwards a worker takes them all, and each is counted once.
"""

import itertools
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from bench import database
from bench.drain import in_threads, rate, worker_of
from bench.figures import percentiles_ms
from bench.heartbeats import LEFT, NODES, SET_UP
from pgfleet.producers.http.gateway.batcher import Batcher
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pgfleet.producers.http.gateway.batcher import Reply

SEND = "select pgmq.send('node_heartbeats', %s::jsonb)"
CLEAN = """
truncate pgmq.q_node_heartbeats, autoscaler.node_heartbeats, autoscaler.metrics, autoscaler.pool_analytics,
  public.heartbeat_ids
"""
COUNTED = """
select
  (select count(*) from autoscaler.node_heartbeats),
  (select count(distinct heartbeat_id) from autoscaler.node_heartbeats),
  (select count(*) from public.dead_letters where queue = 'node_heartbeats')
"""
PATIENCE_S = 120
# How many nodes wait for their answers at once: as many as would at 3,000 a second and 0.3 s each.
AT_ONCE = 1000
SENDERS = 8


def measure(*, number: int = 40_000, one_by_one: int = 8_000, connecting: int = 400, rounds: int = 3) -> dict[str, Any]:
    """Alternate the ways on the same server; medians of rates, and of the server's CPU for each heartbeat."""
    with database.temporary() as dsn, open_session(dsn, autocommit=True) as conn:
        conn.execute(SET_UP % {"nodes": NODES})
        ways: dict[str, tuple[int, Callable[[int], list[float]]]] = {
            "gateway": (number, lambda n: _gateway(dsn, n)),
            "held": (one_by_one, lambda n: _held(dsn, n, SENDERS)),
            "held_single": (one_by_one // 4, lambda n: _held(dsn, n, 1)),
            "connecting": (connecting, lambda n: _connecting(dsn, n)),
        }
        figures: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        waited_ms: list[float] = []
        for _ in range(rounds):
            for way, (count, send) in ways.items():
                per_s, cpu_us, waits = _timed(conn, dsn, count, send)
                figures[way].append((per_s, cpu_us))
                waited_ms += waits
        return {
            "bench": "gateway",
            **{f"{way}_per_s": round(median(per_s for per_s, _ in found)) for way, found in figures.items()},
            **{f"{way}_server_cpu_us": round(median(cpu for _, cpu in found)) for way, found in figures.items()},
            **percentiles_ms("gateway_answer", waited_ms),
            "messages": {way: count for way, (count, _) in ways.items()},
            "where": database.where(dsn),
        }


def _timed(
    conn: Connection, dsn: str, number: int, send: Callable[[int], list[float]]
) -> tuple[float, float, list[float]]:
    conn.execute(CLEAN)
    conn.execute("checkpoint")
    cpu_s, started_s = database.server_cpu_s(conn), time.perf_counter()
    waits = send(number)
    took_s, used_s = time.perf_counter() - started_s, database.server_cpu_s(conn) - cpu_s
    _verify(conn, dsn, number)
    return number / took_s, used_s / number * 1e6, waits


def _verify(conn: Connection, dsn: str, number: int) -> None:
    """Each that was accepted is counted once, by the worker that counts them in production."""
    waiting = conn.execute(LEFT).fetchone()
    assert waiting == (number,), waiting
    with worker_of("pgfleet.workers.heartbeat", dsn, 2) as worker:
        rate(conn, worker, LEFT, number, deadline_s=PATIENCE_S)
    counted = conn.execute(COUNTED).fetchone()
    assert counted == (number, number, 0), counted


def _body(number: int) -> dict[str, Any]:
    node = 1 + number % NODES
    figures = {"current_instances": 3, "active_instances": 2, "avg_cpu_utilization": 12.5, "avg_memory_utilization": 30}
    return {
        "action": "heartbeat",
        "source": "autoscaler",
        "node_id": node,
        "status": "ok",
        "id": str(uuid.uuid4()),
        "sent_at": datetime.now(UTC).isoformat(),
        "config_hash": "0" * 64,
        "metrics": {"cpu_percent": number % 100, "memory_percent": 40.5},
        "pools": [{"oracle_pool_id": f"pool-{node}", **figures}],
    }


def _gateway(dsn: str, number: int) -> list[float]:
    """As an event loop would: so many requests are open at once, and another comes with each answer."""
    waits: list[float] = []
    open_ones: deque[tuple[float, Future[Reply]]] = deque()

    def answered() -> None:
        began_s, reply = open_ones.popleft()
        assert reply.result(PATIENCE_S).status == "success"
        waits.append((time.perf_counter() - began_s) * 1000)

    with Batcher(lambda: open_session(dsn, autocommit=True)) as gateway:
        for place in range(number):
            body = _body(place)
            if len(open_ones) >= AT_ONCE:
                answered()
            open_ones.append((time.perf_counter(), gateway.submit(str(body["node_id"]), body)))
        while open_ones:
            answered()
    return waits


def _held(dsn: str, number: int, senders: int) -> list[float]:
    left = itertools.count()
    lock = threading.Lock()

    def work() -> None:
        with open_session(dsn, autocommit=True, prepare_threshold=5) as conn:
            while True:
                with lock:
                    place = next(left)
                if place >= number:
                    return
                conn.execute(SEND, (Jsonb(_body(place)),))

    in_threads(senders, work)
    return []


def _connecting(dsn: str, number: int) -> list[float]:
    for place in range(number):
        with open_session(dsn, autocommit=True) as conn:
            conn.execute(SEND, (Jsonb(_body(place)),))
    return []
