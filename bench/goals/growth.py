"""Transitions a second while more waits, while more has been, and by more workers; heartbeats while more were counted.

Each figure is of the same number of messages, by the times of their rows of history: from the first that is settled to
the last. Nobody looks meanwhile but now and then, and no row may be moved twice.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import accumulate
from typing import Any, LiteralString

from bench import database, heartbeats
from bench.drain import left, worker_of
from pgfleet.console.local import embedded
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

TAKEN, TAKEN_BY_WORKERS, HEARTBEATS = 20_000, 60_000, 40_000
WAITING = (0, 100_000, 1_000_000, 10_000_000)
HISTORY = (0, 1_000_000, 10_000_000, 100_000_000)
COUNTED = (1_000_000, 10_000_000, 100_000_000)
WORKERS = (1, 2, 4, 8, 16, 32, 64)
THREADS = 4
# A worker has a session for each thread, and five more.
CONNECTIONS = max(WORKERS) * (THREADS + 5) + 20
DEADLINE_S, LOOK_S = 300, 1.0
AT_ONCE = 1_000_000

# By the index of times: to count the millions that are left would be what is measured.
DONE = """
select at, count(*) from public.status_history
where at >= %s and machine = 'bench_job' and to_status = 'done' group by at order by at
"""
ROWS: LiteralString = """
insert into public.bench_jobs (job_id, status) select n, 'ready' from generate_series(%(first)s::bigint, %(last)s) n
"""
MESSAGES: LiteralString = """
insert into pgmq.q_bench_jobs (vt, message)
select statement_timestamp(), jsonb_build_object('action', 'finish', 'job_id', n)
from generate_series(%(first)s::bigint, %(last)s) n
"""
PAST: LiteralString = """
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, at)
select 'of_before', n::text, 'ready', 'done', 'finished', 'a bench',
  public.fleet_now() - interval '300 days' + n * interval '0.2 seconds'
from generate_series(%(first)s::bigint, %(last)s) n
"""
TWICE: LiteralString = """
select count(*) from (
  select from public.status_history
  where machine = 'bench_job' and to_status = 'done' group by row_id having count(*) > 1
) d
"""
# Each process listens on one session, which asks whether the server is still a primary now and then.
LISTENING: LiteralString = """
select count(*) from pg_stat_activity
where datname = current_database() and (query like 'listen %' or query like 'show transaction_read_only%')
"""


def measure(*, most: int = WAITING[-1]) -> dict[str, Any]:
    """By how much waits, up to `most`; by how much has been, up to ten times that; and of several workers."""
    with database.temporary() as dsn, open_session(dsn, autocommit=True, longest_s=3600) as conn:
        waiting = {number: _with_waiting(conn, dsn, number) for number in WAITING if number <= most}
        place = database.where(dsn)
    with database.temporary() as dsn, open_session(dsn, autocommit=True, longest_s=3600) as conn:
        history = {number: _with_history(conn, dsn, number) for number in HISTORY if number <= 10 * most}
    with _server() as server, database.temporary(server) as dsn, open_session(dsn, autocommit=True) as conn:
        workers = {number: _by_workers(conn, dsn, number) for number in WORKERS}
    counted = {
        number: heartbeats.measure(number=HEARTBEATS, rounds=1, ids=number) for number in COUNTED if number <= 10 * most
    }
    first, *others = waiting.values()
    return {
        "bench": "growth",
        "messages": TAKEN,
        "waiting_per_s": waiting,
        "ratio": round(min(others, default=first) / first, 2),
        "history_per_s": history,
        "workers_per_s": workers,
        "heartbeats_per_s": {number: int(found["pgfleet_per_s"]) for number, found in counted.items()},
        "heartbeat_wal_bytes": {number: int(found["wal_bytes"]) for number, found in counted.items()},
        "where": place,
    }


def _with_waiting(conn: Connection, dsn: str, waiting: int) -> int:
    """A second, of TAKEN messages with so many behind them."""
    database.fill(conn, 0)
    _in_parts(conn, ROWS, TAKEN + waiting)
    _in_parts(conn, MESSAGES, TAKEN + waiting)
    _settle(conn, "public.bench_jobs", "pgmq.q_bench_jobs", "public.status_history")
    began = _now(conn)
    with worker_of("bench.job", dsn, THREADS):
        return _rate(conn, began, TAKEN)


def _with_history(conn: Connection, dsn: str, rows: int) -> int:
    """A second, of TAKEN messages where so many rows of history were written before."""
    been = left(conn, "select count(*) from public.status_history where machine = 'of_before'")
    _in_parts(conn, PAST, rows, been)
    _settle(conn, "public.status_history")
    database.fill(conn, TAKEN)
    began = _now(conn)
    with worker_of("bench.job", dsn, THREADS):
        return _rate(conn, began, TAKEN)


def _by_workers(conn: Connection, dsn: str, workers: int) -> int:
    """A second, of messages that are sent when so many processes wait for them."""
    database.fill(conn, 0)
    _in_parts(conn, ROWS, TAKEN_BY_WORKERS)
    _settle(conn, "public.bench_jobs")
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(worker_of("bench.job", dsn, THREADS))
        _wait_for(conn, LISTENING, workers)
        began = _now(conn)
        _in_parts(conn, MESSAGES, TAKEN_BY_WORKERS)
        return _rate(conn, began, TAKEN_BY_WORKERS)


@contextmanager
def _server() -> Iterator[str]:
    """A server of its own, for as many sessions as so many workers have."""
    with embedded.temporary(f"pgfleet-bench-{os.getpid()}-") as data:
        with open_session(embedded.start(data), autocommit=True) as conn:
            conn.execute(f"alter system set max_connections = {CONNECTIONS}".encode())
        embedded.stop(data)
        yield embedded.start(data)


def _rate(conn: Connection, began: datetime, number: int) -> int:
    """A second, from the transaction that settles the first of so many messages to the last one."""
    deadline = time.monotonic() + DEADLINE_S
    done: list[tuple[datetime, int]] = []
    while sum(number_of for _, number_of in done) < number:
        if time.monotonic() > deadline:
            raise SystemExit(f"{number} messages were not settled within {DEADLINE_S} s")
        time.sleep(LOOK_S)
        done = conn.execute(DONE, (began,)).fetchall()
    assert left(conn, TWICE) == 0
    settled = list(accumulate(number_of for _, number_of in done))
    last = next(place for place, so_far in enumerate(settled) if so_far >= number)
    return round((settled[last] - settled[0]) / (done[last][0] - done[0][0]).total_seconds())


def _wait_for(conn: Connection, query: LiteralString, number: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while (there := left(conn, query)) < number:
        if time.monotonic() > deadline:
            raise SystemExit(f"{there} of {number} workers listen after {DEADLINE_S} s")
        time.sleep(LOOK_S)


def _now(conn: Connection) -> datetime:
    row = conn.execute("select public.fleet_now()").fetchone()
    assert row is not None
    at: datetime = row[0]
    return at


def _in_parts(conn: Connection, statement: LiteralString, number: int, been: int = 0) -> None:
    for first in range(been + 1, number + 1, AT_ONCE):
        conn.execute(statement, {"first": first, "last": min(first + AT_ONCE - 1, number)})


def _settle(conn: Connection, *tables: str) -> None:
    for table in tables:
        conn.execute(f"vacuum analyze {table}".encode())
    conn.execute("checkpoint")


def table(figures: dict[str, Any]) -> Sequence[str]:
    """As Markdown."""
    return [
        line
        for title, row, measured in (
            ("messages that wait", "transitions a second", figures["waiting_per_s"]),
            ("rows of history", "transitions a second", figures["history_per_s"]),
            ("worker processes", "transitions a second", figures["workers_per_s"]),
            ("heartbeats counted before", "heartbeats a second", figures["heartbeats_per_s"]),
            ("heartbeats counted before", "bytes of WAL a heartbeat", figures["heartbeat_wal_bytes"]),
        )
        for line in (
            f"| {title} | {' | '.join(f'{int(each):,}' for each in measured)} |",
            f"|---|{'---|' * len(measured)}",
            f"| {row} | {' | '.join(f'{each:,}' for each in measured.values())} |",
            "",
        )
    ]
