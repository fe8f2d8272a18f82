"""A simulated fleet for ten minutes: its worker is killed twice and once away for too long, and Postgres restarts.

Then all must be as if nothing had happened: `check.py` says what.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg

from bench import database
from bench.drain import processes
from bench.fleet.check import LEFT, broken, look_at
from pgfleet.console.local import embedded
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

OFFLINE_S = 120.0
LEASE_S = 90.0
LOOK_S = 1.0
END_S = 180.0

TAKEN = "select last_value from autoscaler.node_heartbeats_id_seq"
LAG = "select extract(epoch from public.heartbeat_lag())::float8"
SWEPT = "select coalesce(max(swept_at)::text, '') from public.offline_sweeps where machine = 'node'"
SWEEP = """select pgmq.send('node_heartbeats', '{"action": "sweep"}')"""


@dataclass(frozen=True)
class Plan:
    """What happens to a fleet; `restart` is called once, where there is a server to restart.

    The worker is away from `away_at` for `away_s`. `sweep` asks for sweeps at every look, as the clock does it rarely.
    """

    nodes: int
    interval_s: float
    span_s: float
    offline_s: float
    kills_at: Sequence[float]
    away_at: float
    away_s: float
    restart_at: float = 0
    restart: Callable[[], object] | None = None
    flags: Sequence[str] = ()
    settings: dict[str, str] = field(default_factory=dict)
    sweep: bool = False


def measure(*, nodes: int = 10_000, minutes: float = 10) -> dict[str, Any]:
    """Play the scenario on a server of its own, and check it."""
    with embedded.temporary(f"pgfleet-bench-{os.getpid()}-") as data:
        dsn = embedded.start(data)
        migrate(dsn)
        span_s = minutes * 60
        offline_s = min(OFFLINE_S, span_s / 5)
        plan = Plan(
            nodes=nodes,
            interval_s=offline_s / 2,
            span_s=span_s,
            offline_s=offline_s,
            kills_at=(0.15 * span_s, 0.55 * span_s),
            away_at=0.25 * span_s,
            away_s=1.1 * offline_s,
            restart_at=0.65 * span_s,
            restart=partial(_restart, data),
            settings={"PGFLEET_LEASE_S": str(min(LEASE_S, span_s / 10))},
        )
        found = play(dsn, plan)
        place = database.where(dsn)
    wrong = broken(found)
    right = {name: value for name, value in found.items() if value and name not in wrong}
    figures = {
        "bench": "fleet",
        "nodes": nodes,
        "interval_s": plan.interval_s,
        "seconds": span_s,
        **right,
        "where": place,
    }
    if wrong:
        raise SystemExit(json.dumps({"wrong": wrong, **figures}))
    return figures


def _restart(data: Path) -> None:
    embedded.stop(data)
    embedded.start(data)


class Worker:
    """The heartbeat worker as dramatiq's command line starts it, in a process group of its own."""

    def __init__(self, dsn: str, settings: dict[str, str]) -> None:
        self.environment = {**os.environ, "DATABASE_URL": dsn, "PGFLEET_LOG_LEVEL": "error", **settings}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "dramatiq", "pgfleet.workers.heartbeat", "-p", "1", "-t", "2"]
        self.process = subprocess.Popen(command, env=self.environment, start_new_session=True)  # noqa: S603  # our own

    def kill(self) -> None:
        """All its processes, at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def killed_and_restarted(self) -> None:
        self.kill()
        self.start()

    def resident_mb(self) -> float:
        """The largest of its processes."""
        if self.process is None:
            return 0
        try:
            return float(max(each.memory_info().rss for each in processes(self.process))) / 2**20
        except psutil.NoSuchProcess:
            return 0


@dataclass
class Watch:
    """The most of each figure so far."""

    conn: Connection | None = None
    taken: int = 0
    looked: float = 0
    peak_per_s: float = 0
    lag_max_s: float = 0
    resident_mb: float = 0

    def look(self, dsn: str, worker: Worker, *, sweep: bool) -> None:
        """Measures; while the server is away there is nothing to measure."""
        self.resident_mb = max(self.resident_mb, worker.resident_mb())
        try:
            self.conn = self.conn or open_session(dsn, autocommit=True)
            self._measure(self.conn)
            if sweep:
                self.conn.execute(SWEEP)
        except psycopg.OperationalError:
            self.close()

    def close(self) -> None:
        if self.conn is not None:
            self.conn.close()
            self.conn = None

    def _measure(self, conn: Connection) -> None:
        now, (taken, lag_s) = time.monotonic(), (_value(conn, TAKEN), _value(conn, LAG))
        if self.looked:
            self.peak_per_s = max(self.peak_per_s, (taken - self.taken) / (now - self.looked))
        self.taken, self.looked = taken, now
        self.lag_max_s = max(self.lag_max_s, lag_s)


def play(dsn: str, plan: Plan) -> dict[str, Any]:
    """Run a plan, wait for the queue and two sweeps, and return what was found."""
    settings = {"PGFLEET_NODE_OFFLINE_S": str(plan.offline_s), **plan.settings}
    worker, watch = Worker(dsn, settings), Watch()
    worker.start()
    try:
        with simulation(dsn, plan, settings) as simulator:
            events = _events(plan, worker)
            began = time.monotonic()
            while simulator.poll() is None:
                events = _due(events, time.monotonic() - began)
                watch.look(dsn, worker, sweep=plan.sweep)
                time.sleep(LOOK_S)
            simulated = json.loads(simulator.communicate()[0])
        _settle(dsn, worker, watch)
        with open_session(dsn, autocommit=True) as conn:
            found = look_at(conn, simulated, plan.offline_s)
    finally:
        watch.close()
        worker.kill()
    seen = {
        "peak_per_s": round(watch.peak_per_s),
        "lag_max_s": round(watch.lag_max_s, 1),
        "worker_mb": round(watch.resident_mb),
    }
    return {**seen, "died": len(simulated["died"]), "flapped": len(simulated["flapped"]), **found}


Event = tuple[float, Callable[[], object]]


def _events(plan: Plan, worker: Worker) -> list[Event]:
    events: list[Event] = [(at, worker.killed_and_restarted) for at in plan.kills_at]
    events += [(plan.away_at, worker.kill), (plan.away_at + plan.away_s, worker.start)]
    if plan.restart:
        events.append((plan.restart_at, plan.restart))
    return sorted(events, key=lambda event: event[0])


def _due(events: list[Event], now: float) -> list[Event]:
    """Runs the events that are due; returns the others."""
    for at, happen in events:
        if at <= now:
            happen()
    return [(at, happen) for at, happen in events if at > now]


@contextmanager
def simulation(dsn: str, plan: Plan, settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    numbers = [f"--nodes={plan.nodes}", f"--interval={plan.interval_s}", f"--for={plan.span_s}"]
    command = [sys.executable, "-m", "pgfleet.console.main", "simulate", "fleet", *numbers, *plan.flags, "--json"]
    environment = {**os.environ, "DATABASE_URL": dsn, **settings}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _settle(dsn: str, worker: Worker, watch: Watch) -> None:
    """Until the queue is empty and two sweeps have been after that: asked for, before silence is too long for all."""
    deadline, swept = time.monotonic() + END_S, list[str]()
    with open_session(dsn, autocommit=True) as conn:
        while len(swept) < 3:
            if time.monotonic() > deadline:
                raise SystemExit(f"no end after {END_S} s: {_value(conn, LEFT)} heartbeats in the queue")
            watch.look(dsn, worker, sweep=True)
            now = _value(conn, SWEPT)
            swept = [] if _value(conn, LEFT) else swept if now in swept else [*swept, now]
            time.sleep(LOOK_S / 2)


def _value(conn: Connection, query: str) -> Any:
    ((value,),) = conn.execute(query.encode()).fetchall()
    return value
