"""What a claim costs where the queue is full of timers, and where a long transaction holds back the vacuum."""

import time
from datetime import timedelta
from typing import Any

from bench import database
from bench.figures import percentiles_ms
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue import claims, kernel
from pgfleet.schema.queue.front import Front
from pgfleet.schema.queue.kernel import Connection

DELAYED = 300_000
PASSED = 100_000
CLAIMS = 200
BATCH = 10
WARM_UP = 10
LEASE = timedelta(seconds=90)

SEND = """
insert into pgmq.q_bench_jobs (vt, message)
select statement_timestamp() + n * %s::interval, jsonb_build_object('action', 'finish', 'job_id', n)
from generate_series(1, %s) n
"""
AT_ONCE, AN_HOUR_AND_MORE = timedelta(0), timedelta(hours=1)


def measure(*, delayed: int = DELAYED) -> dict[str, Any]:
    """Times of single claims as a worker makes them, on one connection."""
    with database.temporary() as dsn, open_session(dsn, autocommit=True, longest_s=3600) as conn:
        figures = {**_delayed(conn, delayed), **_xmin_held(conn, dsn), **_analyzed_empty(conn)}
        place = database.where(dsn)
    return {"bench": "claim", "claims": CLAIMS, "batch": BATCH, **figures, "where": place}


def _delayed(conn: Connection, number: int) -> dict[str, float]:
    """So many messages that are not due: claims that find nothing, then claims that find a batch."""
    conn.execute(SEND, (AN_HOUR_AND_MORE, number))
    conn.execute("vacuum analyze pgmq.q_bench_jobs")
    empty = _claims(conn, expected=0)
    conn.execute(SEND, (AT_ONCE, (CLAIMS + WARM_UP) * BATCH))
    full = _claims(conn, expected=BATCH)
    return {**percentiles_ms("delayed_empty", empty), **percentiles_ms("delayed", full)}


def _xmin_held(conn: Connection, dsn: str) -> dict[str, float]:
    """100,000 messages have come and gone, and none of their dead rows may be removed."""
    conn.execute("truncate pgmq.q_bench_jobs")
    with open_session(dsn) as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select txid_current()")
        conn.execute(SEND, (AT_ONCE, PASSED))
        _pass_all(conn)
        conn.execute(SEND, (AT_ONCE, (CLAIMS + WARM_UP) * BATCH))
        full = _claims(conn, expected=BATCH)
        empty = _claims(conn, expected=0)
    return {**percentiles_ms("xmin_held_empty", empty), **percentiles_ms("xmin_held", full)}


def _analyzed_empty(conn: Connection) -> dict[str, float]:
    """100,000 messages that came after statistics were taken of an empty queue."""
    conn.execute("alter table pgmq.q_bench_jobs set (autovacuum_enabled = false)")
    conn.execute("truncate pgmq.q_bench_jobs")
    conn.execute("vacuum analyze pgmq.q_bench_jobs")
    conn.execute(SEND, (AT_ONCE, PASSED))
    return percentiles_ms("analyzed_empty", _claims(conn, expected=BATCH))


def _pass_all(conn: Connection) -> None:
    passed = 0
    while passed < PASSED:
        messages, _ = claims.claim(conn, database.QUEUE, 500, LEASE)
        passed += len(kernel.delete(conn, database.QUEUE, [message.token for message in messages]).fetchall())
    assert passed == PASSED


def _claims(conn: Connection, *, expected: int) -> list[float]:
    """Milliseconds of each claim after a warm-up that prepares the statement; each must find what is expected."""
    front = Front()
    return [_claim_ms(conn, expected, front) for _ in range(WARM_UP + CLAIMS)][WARM_UP:]


def _claim_ms(conn: Connection, expected: int, front: Front) -> float:
    started = time.perf_counter()
    messages, _ = claims.claim(conn, database.QUEUE, BATCH, LEASE, front=front)
    taken_ms = (time.perf_counter() - started) * 1000
    assert len(messages) == expected, (len(messages), expected)
    return taken_ms
