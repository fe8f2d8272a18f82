"""Full transitions per second through dramatiq, beside the raw pipelined limit of the same run."""

from typing import Any

from bench import database, raw
from bench.drain import cpu_us, rate, worker_of
from bench.figures import compared
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

LEFT = "select count(*) from pgmq.q_bench_jobs"


def measure(*, number: int = 40_000, rounds: int = 3, threads: int = 4) -> dict[str, Any]:
    """Alternate raw and pgfleet on the same server, verify each run, and compare the medians."""
    with database.temporary() as dsn, open_session(dsn, autocommit=True) as conn:
        figures = compared(
            "raw_pipelined",
            lambda: max(_raw(conn, dsn, number, raw_threads) for raw_threads in (1, 2, 4)),
            lambda: pgfleet(conn, dsn, number, threads),
            rounds,
        )
        database.fill(conn, number)
        with worker_of("bench.job", dsn, threads) as worker:
            cost = cpu_us(conn, worker, LEFT)
        return {"bench": "transitions", "messages": number, **figures, **cost, "where": database.where(dsn)}


def _raw(conn: Connection, dsn: str, number: int, threads: int) -> float:
    database.fill(conn, number)
    conn.execute("alter table public.bench_jobs disable trigger user")
    seconds = raw.run(dsn, threads=threads, batch=50)
    conn.execute("alter table public.bench_jobs enable trigger user")
    done = conn.execute(database.CHECK).fetchone()
    assert done is not None
    assert done[0] == number, done
    return number / seconds


def pgfleet(conn: Connection, dsn: str, number: int, threads: int) -> float:
    """Transitions per second of one worker process, started as a user would, and verified."""
    database.fill(conn, number)
    with worker_of("bench.job", dsn, threads) as worker:
        per_s = rate(conn, worker, LEFT, number)
    done = conn.execute(database.CHECK).fetchone()
    assert done == (number, number, 0, 0), done
    return per_s
