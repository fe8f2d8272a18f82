"""Peers at the same job on the same server, in the same run: take a job, one guarded update, acknowledge.

Each is one worker process at the settings that its own documents advise, and each does less than pgfleet does:
no validation, no loading of rows, no history.
"""

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, LiteralString

from bench import database, transitions
from bench.drain import left, process, rate
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "bench" / "peers.txt"
VENV = ROOT / ".venv-peers"
PYTHON = str(VENV / "bin" / "python")

NEW_ROWS = "insert into public.bench_jobs (job_id, status) select n, 'ready' from generate_series(1, %s) n"
DONE: LiteralString = "select count(*) from public.bench_jobs where status = 'done'"


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer; `work` is its worker's command after `python -m`, `left` counts its unacknowledged jobs."""

    name: str
    module: str
    left: LiteralString
    settings: str
    batch: int
    connections: int
    work: tuple[str, ...] = field(default=())

    @property
    def worker(self) -> list[str]:
        return [PYTHON, "-m", *(self.work or (self.module, "work"))]


PEERS = (
    Peer(
        "pgqueuer",
        "bench.peer_scripts.pgqueuer_peer",
        "select count(*) from public.pgqueuer",
        "1.6.0: asyncpg pool of 40, uvloop, durable, batch_size 200",
        batch=200,
        connections=40,
    ),
    Peer(
        "procrastinate",
        "bench.peer_scripts.procrastinate_peer",
        "select count(*) from public.procrastinate_jobs where status in ('todo', 'doing')",
        "3.10.0: asynchronous, concurrency 10, pools of 20 connections",
        batch=10,
        connections=20,
    ),
    Peer(
        "dramatiq-postgres",
        "bench.peer_scripts.dramatiq_postgres_peer",
        "select count(*) from dramatiq.queue",
        "1.4.0: 8 threads, pools of 16 connections, results off",
        batch=0,
        connections=16,
        work=("dramatiq", "bench.peer_scripts.dramatiq_postgres_peer", "-p", "1", "-t", "8", "--skip-logging"),
    ),
)


def measure(*, number: int = 6_000, ours: int = 40_000, rounds: int = 3, threads: int = 4) -> dict[str, Any]:
    """Alternate all of them on one server, verify each run, and compare the medians."""
    install()
    rates: dict[str, list[float]] = {"pgfleet": [], **{peer.name: [] for peer in PEERS}}
    with database.temporary() as dsn, open_session(dsn, autocommit=True) as conn:
        for _ in range(rounds):
            for peer in PEERS:
                rates[peer.name].append(_peer(conn, dsn, peer, number))
            rates["pgfleet"].append(transitions.pgfleet(conn, dsn, ours, threads))
        place = database.where(dsn)
    medians = {name: median(measured) for name, measured in rates.items()}
    return {
        "bench": "peers",
        "jobs": {"pgfleet": ours, "peers": number},
        **{f"{name}_per_s": round(per_s) for name, per_s in medians.items()},
        "pgfleet_ratio": {peer.name: round(medians["pgfleet"] / medians[peer.name], 1) for peer in PEERS},
        "rounds": {name: [round(per_s) for per_s in measured] for name, measured in rates.items()},
        "settings": {peer.name: peer.settings for peer in PEERS},
        "where": place,
    }


def install() -> None:
    """The peers' own environment, made anew when the pinned versions have changed."""
    stamp = VENV / "peers.txt"
    if stamp.exists() and stamp.read_text("utf-8") == PINNED.read_text("utf-8"):
        return
    print(f"installing the peers into {VENV}", file=sys.stderr)
    venv.create(VENV, clear=True, with_pip=True)
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(PINNED)]
    subprocess.run(command, check=True)  # noqa: S603  # our own command
    stamp.write_text(PINNED.read_text("utf-8"), "utf-8")


def _peer(conn: Connection, dsn: str, peer: Peer, number: int) -> float:
    """Jobs per second of one worker process; every row must be done, each by one guarded update."""
    environment = {
        "DATABASE_URL": dsn,
        "PEER_BATCH": str(peer.batch),
        "PEER_CONNECTIONS": str(peer.connections),
        "PYTHONPATH": str(ROOT),
    }
    conn.execute("truncate public.bench_jobs")
    conn.execute("alter table public.bench_jobs disable trigger user")
    conn.execute(NEW_ROWS, (number,))
    _fill(peer, number, environment)
    conn.execute("vacuum analyze")
    conn.execute("checkpoint")
    assert left(conn, peer.left) == number
    with process(peer.worker, environment) as worker:
        per_s = rate(conn, worker, peer.left, number)
    assert left(conn, DONE) == number, peer.name
    conn.execute("alter table public.bench_jobs enable trigger user")
    return per_s


def _fill(peer: Peer, number: int, environment: Mapping[str, str]) -> None:
    command = [PYTHON, "-m", peer.module, "fill", str(number)]
    subprocess.run(command, env={**os.environ, **environment}, check=True)  # noqa: S603  # our own command
