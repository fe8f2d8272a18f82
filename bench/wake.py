"""How long a message lies in the queue of an idle worker before its step begins, and what idling costs.

Twice: from just before it is sent, and above what the sender's own commit takes, from when the sender goes on.
"""

import random
import subprocess
import time
from typing import Any, LiteralString

import psycopg

from bench import database
from bench.drain import cpu_s, left, worker_of
from bench.figures import percentiles_ms
from pgfleet.schema.database.dsn import at_database
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

WARM_UP = 30
MEASURED = 300
INTERVAL_S = (0.020, 0.120)
# Periodic work comes each 6 s: a short window has more or less of it.
IDLE_S = 30
# A session that has become idle tells the statistics what it did within ten seconds.
COUNTED_S = 12
DEADLINE_S = 30

SEND = "select pgmq.send('bench_jobs', jsonb_build_object('action', 'finish', 'job_id', %s::bigint))"
UNFINISHED: LiteralString = "select count(*) from public.bench_jobs where status = 'ready'"
QUEUED: LiteralString = "select count(*) from pgmq.q_bench_jobs"
STARTED = "select job_id, started_ns from public.bench_jobs where job_id > %s order by job_id"
COMMITS = "select xact_commit + xact_rollback from pg_stat_database where datname = %s"


def measure() -> dict[str, Any]:
    """Send one message at a time at random intervals, and note when each step begins."""
    with database.temporary() as dsn, open_session(dsn, autocommit=True) as conn:
        conn.execute(_ROWS, (WARM_UP + MEASURED,))
        with worker_of("bench.job", dsn, threads=2) as worker:
            sent_ns, committed_ns = _send_all(conn)
            _wait_for_all(conn)
            waited_ms, above_ms = _waited_ms(conn, sent_ns), _waited_ms(conn, committed_ns)
            idle = _idle(dsn, worker)
        done = conn.execute(database.CHECK).fetchone()
        place = database.where(dsn)
    everything = WARM_UP + MEASURED
    assert done == (everything, everything, 0, 0), done
    waited = {**percentiles_ms("wake", waited_ms), **percentiles_ms("wake_above_commit", above_ms)}
    return {"bench": "wake", "messages": MEASURED, **waited, **idle, "where": place}


_ROWS = "insert into public.bench_jobs (job_id, status) select n, 'ready' from generate_series(1, %s) n"


def _send_all(conn: Connection) -> tuple[dict[int, int], dict[int, int]]:
    """The warm-up's first message also waits for the process to start.

    Returns:
        By job: just before it was sent, and when its sender went on, in ns.
    """
    chance = random.Random(7)  # noqa: S311  # the same intervals in every run
    sent_ns, committed_ns = {}, {}
    for job_id in range(1, WARM_UP + MEASURED + 1):
        sent_ns[job_id] = time.monotonic_ns()
        conn.execute(SEND, (job_id,))
        committed_ns[job_id] = time.monotonic_ns()
        time.sleep(chance.uniform(*INTERVAL_S))
        if job_id == WARM_UP:
            _wait_until_empty(conn)
    return sent_ns, committed_ns


def _wait_for_all(conn: Connection) -> None:
    _wait_until_empty(conn)
    assert left(conn, UNFINISHED) == 0


def _wait_until_empty(conn: Connection) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while left(conn, QUEUED):
        if time.monotonic() > deadline:
            raise SystemExit(f"messages are still queued after {DEADLINE_S} s")
        time.sleep(0.05)


def _waited_ms(conn: Connection, since_ns: dict[int, int]) -> list[float]:
    rows = conn.execute(STARTED, (WARM_UP,)).fetchall()
    assert len(rows) == MEASURED
    return [(started_ns - since_ns[job_id]) / 1e6 for job_id, started_ns in rows]


def _idle(dsn: str, worker: subprocess.Popen[bytes]) -> dict[str, float]:
    """Transactions and CPU of a worker that has nothing to do.

    The statistics are read from another database, so that reading them is not counted; of two windows the
    smaller number is taken, as autovacuum is counted too.
    """
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    windows, used_s = [], []
    with open_session(at_database(dsn, "postgres"), autocommit=True) as observer:
        time.sleep(COUNTED_S)
        for _ in range(2):
            commits, cpu_before_s = _commits(observer, str(name)), cpu_s(worker)
            time.sleep(IDLE_S)
            windows.append(_commits(observer, str(name)) - commits)
            used_s.append(cpu_s(worker) - cpu_before_s)
    idle = round(min(windows) / IDLE_S, 2)
    return {"idle_transactions_per_s": idle, f"idle_cpu_s_in_{IDLE_S}_s": round(min(used_s), 2)}


def _commits(observer: Connection, name: str) -> int:
    row = observer.execute(COMMITS, (name,)).fetchone()
    assert row is not None
    commits: int = row[0]
    return commits
