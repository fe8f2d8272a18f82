"""Transitions a second while ever more messages wait behind those that are worked on, and by how many workers.

Each figure is of the same number of messages, from the first that is settled to the last; the others wait meanwhile.
Afterwards no row has been moved twice.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, LiteralString

from bench import database
from bench.drain import left, worker_of
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

TAKEN = 20_000
WAITING = (0, 100_000, 1_000_000, 10_000_000)
WORKERS = (1, 2, 4, 8, 16)
THREADS = 4
DEADLINE_S = 300
# What is done is counted: to count the millions that are left would be what is measured.
PASSED: LiteralString = "select count(*) from public.status_history where machine = 'bench_job' and to_status = 'done'"
MADE = """
insert into public.bench_jobs (job_id, status) select n, 'ready' from generate_series(%(first)s, %(last)s) n;
insert into pgmq.q_bench_jobs (vt, message)
select statement_timestamp(), jsonb_build_object('action', 'finish', 'job_id', n)
from generate_series(%(first)s, %(last)s) n
"""
TWICE = """
select count(*) from (
  select from public.status_history
  where machine = 'bench_job' and to_status = 'done' group by row_id having count(*) > 1
) d
"""


def measure(*, most: int = WAITING[-1]) -> dict[str, Any]:
    """By how much waits, up to `most`, of one worker; and of several workers, with nothing waiting."""
    with database.temporary() as dsn, open_session(dsn, autocommit=True, longest_s=3600) as conn:
        waiting = {str(number): _per_s(conn, dsn, number) for number in WAITING if number <= most}
        workers = {str(number): _per_s(conn, dsn, 0, number) for number in WORKERS}
        first, *others = waiting.values()
        return {
            "bench": "growth",
            "messages": TAKEN,
            "waiting_per_s": waiting,
            "ratio": round(min(others, default=first) / first, 2),
            "workers_per_s": workers,
            "where": database.where(dsn),
        }


def _per_s(conn: Connection, dsn: str, waiting: int, workers: int = 1) -> int:
    """Of TAKEN messages, with so many behind them."""
    _fill(conn, TAKEN + waiting)
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(worker_of("bench.job", dsn, THREADS))
        deadline = time.monotonic() + DEADLINE_S
        first, began = _passed(conn, 1, deadline)
        last, ended = _passed(conn, TAKEN, deadline)
    assert left(conn, TWICE) == 0
    return round((last - first) / (ended - began))


def _passed(conn: Connection, number: int, deadline: float) -> tuple[int, float]:
    """How many are done once these are, and when that was seen."""
    while (done := left(conn, PASSED)) < number:
        if time.monotonic() > deadline:
            raise SystemExit(f"{done} of {number} messages were settled within {DEADLINE_S} s")
        time.sleep(0.02)
    return done, time.perf_counter()


def _fill(conn: Connection, number: int, at_once: int = 500_000) -> None:
    database.fill(conn, 0)
    for first in range(1, number + 1, at_once):
        last = min(first + at_once - 1, number)
        for statement in MADE.strip().split(";\n"):
            conn.execute(statement.encode(), {"first": first, "last": last})
    for table in ("public.bench_jobs", "pgmq.q_bench_jobs"):
        conn.execute(f"vacuum analyze {table}".encode())
    conn.execute("checkpoint")


def table(figures: dict[str, Any]) -> Sequence[str]:
    """As Markdown."""
    waiting, workers = figures["waiting_per_s"], figures["workers_per_s"]
    return [
        f"| messages that wait | {' | '.join(f'{int(each):,}' for each in waiting)} |",
        f"|---|{'---|' * len(waiting)}",
        f"| transitions a second | {' | '.join(f'{each:,}' for each in waiting.values())} |",
        "",
        f"| worker processes | {' | '.join(workers)} |",
        f"|---|{'---|' * len(workers)}",
        f"| transitions a second | {' | '.join(f'{each:,}' for each in workers.values())} |",
    ]
