"""A million nodes with a heartbeat each 30 s, by a hundredth of them: the same code, and CPU and WAL times a hundred.

10,000 simulated nodes report to one server, their worker takes what they say, and sweeps and sums of every minute run
beside it. What all of that costs a heartbeat is measured while it goes on as it does all day. Times a hundred it is
what a million would cost if nothing else became scarce: no such fleet has been run.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import database
from bench.drain import cpu_s
from bench.figures import put
from bench.fleet import Plan, Worker, simulation
from bench.sizing.measuring import counted
from bench.sizing.page import commit, machine
from pgfleet.console.local import embedded
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

PAGE = Path(__file__).parents[2] / "deploy/docs/growing.md"
BEGIN, END = "<!-- A million: written by `python -m bench million --write` -->\n", "<!-- The end of the million -->\n"
NODES, INTERVAL_S, TIMES = 10_000, 30.0, (1, 10, 30, 100)
BEGUN_S, WARM_S, SPAN_S = 60.0, 45.0, 180.0
TAKEN = "select coalesce(last_value, 0) from pg_sequences where sequencename = 'node_heartbeats_id_seq'"
WAITING = "select count(*) from pgmq.q_node_heartbeats"


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    taken: int
    worker_s: float
    server_s: float
    wal_bytes: int


def measure(*, write: bool = False) -> dict[str, Any]:
    """Simulate for some minutes; with `write`, into the page."""
    load = os.getloadavg()[0]
    with embedded.temporary(f"pgfleet-bench-{os.getpid()}-") as data:
        dsn = embedded.start(data)
        migrate(dsn)
        figures = _simulate(dsn)
    if write:
        put(PAGE, BEGIN, END, _told(figures, load))
    return {"bench": "million", "nodes": NODES, "interval_s": INTERVAL_S, **figures}


def _simulate(dsn: str) -> dict[str, float]:
    plan = Plan(NODES, INTERVAL_S, BEGUN_S + WARM_S + SPAN_S + BEGUN_S, 300, (), float("inf"), 0)
    worker = Worker(dsn, {})
    worker.start()
    try:
        with simulation(dsn, plan, {}), open_session(dsn, autocommit=True) as conn:
            deadline = time.monotonic() + BEGUN_S
            while not counted(conn, TAKEN):
                if time.monotonic() > deadline:
                    raise SystemExit(f"no heartbeat was taken within {BEGUN_S:g} s")
                time.sleep(1)
            time.sleep(WARM_S)
            before = _look(conn, worker)
            time.sleep(SPAN_S)
            after, waiting = _look(conn, worker), counted(conn, WAITING)
    finally:
        worker.kill()
    taken = after.taken - before.taken
    expected = NODES / INTERVAL_S * (after.at - before.at)
    if taken < 0.95 * expected or waiting > NODES / INTERVAL_S:
        raise SystemExit(
            f"{taken} of {expected:.0f} heartbeats were taken, and {waiting} wait: this is no steady state"
        )
    return {
        "per_s": round(taken / (after.at - before.at), 1),
        "worker_cpu_us": round(1e6 * (after.worker_s - before.worker_s) / taken),
        "postgres_cpu_us": round(1e6 * (after.server_s - before.server_s) / taken),
        "wal_bytes": round((after.wal_bytes - before.wal_bytes) / taken),
    }


def _look(conn: Connection, worker: Worker) -> _Seen:
    assert worker.process is not None
    taken, wal = counted(conn, TAKEN), database.wal_bytes(conn)
    return _Seen(time.monotonic(), taken, cpu_s(worker.process), database.server_cpu_s(conn), wal)


def _told(figures: Mapping[str, float], load: float) -> str:
    rows = "".join(_row(times, figures) for times in TIMES)
    cost = (
        f"{figures['worker_cpu_us']:,.0f} us of its worker, {figures['postgres_cpu_us']:,.0f} us of PostgreSQL with its"
        f" sending, and {figures['wal_bytes'] / 1e3:.1f} kB of WAL"
    )
    return (
        f"Measured on {machine(load)}, commit {commit()}, in {SPAN_S:g} s: a heartbeat cost {cost}.\n\n"
        "| nodes | | heartbeats a second | cores of workers | cores of PostgreSQL | WAL, MB/s |\n"
        f"|---|---|---|---|---|---|\n{rows}"
    )


def _row(times: int, figures: Mapping[str, float]) -> str:
    per_s = figures["per_s"] * times
    worker, server = (per_s * figures[name] / 1e6 for name in ("worker_cpu_us", "postgres_cpu_us"))
    how = "simulated" if times == 1 else f"computed: times {times}"
    wal = per_s * figures["wal_bytes"] / 1e6
    return f"| {NODES * times:,} | {how} | {per_s:,.0f} | {worker:.2f} | {server:.2f} | {wal:.1f} |\n"
