"""Peers at the same job on the same server, in the same run, each one worker process.

The job: take it, one guarded update, its row of history in the same transaction, acknowledge. pgfleet validates the
message and loads the row beside that.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import median
from typing import Any

from bench import database, transitions
from bench.drain import left, process, rate
from bench.goals import picture
from bench.peers import page
from bench.peers.installing import PYTHON, ROOT, install, version_of
from bench.peers.listed import PEERS, Peer
from bench.sizing.page import commit, machine
from pgfleet.schema.database.dsn import url_of
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

NEW_ROWS = "insert into public.bench_jobs (job_id, status) select n, 'ready' from generate_series(1, %s) n"
# Rows done, rows of history, and rows that have a row of history.
DONE = """
select
  (select count(*) from public.bench_jobs where status = 'done'), count(*), count(distinct row_id)
from public.status_history where machine = 'bench_job' and from_status = 'ready' and to_status = 'done'
"""


def measure(*, number: int = 20_000, rounds: int = 3, threads: int = 4, write: bool = False) -> dict[str, Any]:
    """Alternate all of them on one server, verify each run, and compare the medians; with `write`, on the page."""
    install()
    python = version_of(PYTHON) or (0, 0)
    peers = [peer for peer in PEERS if python >= peer.python]
    rates: dict[str, list[float]] = {"pgfleet": [], **{peer.name: [] for peer in peers}}
    load = os.getloadavg()[0]
    with database.temporary() as dsn, open_session(dsn, autocommit=True) as conn:
        for _ in range(rounds):
            for peer in peers:
                rates[peer.name].append(_peer(conn, dsn, peer, number))
            rates["pgfleet"].append(transitions.pgfleet(conn, dsn, number, threads))
        place, postgres = database.where(dsn), conn.info.parameter_status("server_version")
    medians = {name: median(measured) for name, measured in rates.items()}
    figures = {
        "bench": "peers",
        "jobs": number,
        **{f"{name}_per_s": round(per_s) for name, per_s in medians.items()},
        "pgfleet_ratio": {peer.name: round(medians["pgfleet"] / medians[peer.name], 1) for peer in peers},
        "rounds": {name: [round(per_s) for per_s in measured] for name, measured in rates.items()},
        "titles": {"pgfleet": "pgfleet", **{peer.name: peer.title for peer in PEERS}},
        "settings": {"pgfleet": f"{threads} threads", **{peer.name: peer.settings for peer in peers}},
        "not_measured": {peer.name: f"needs Python {_dotted(peer.python)}" for peer in PEERS if peer not in peers},
        "python": {"pgfleet": _dotted(sys.version_info[:2]), "peers": _dotted(python)},
        "machine": f"{machine(load)}, PostgreSQL {postgres}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "where": place,
    }
    if write:
        page.write(figures)
        picture.write(figures)
    return figures


def _peer(conn: Connection, dsn: str, peer: Peer, number: int) -> float:
    """Jobs per second of one worker process; every row must be done, by one guarded update with one row of history."""
    environment = {
        "DATABASE_URL": url_of(dsn),
        "PEER_BATCH": str(peer.batch),
        "PEER_CONNECTIONS": str(peer.connections),
        "PYTHONPATH": str(ROOT),
    }
    conn.execute("truncate public.bench_jobs")
    conn.execute("delete from public.status_history where machine = 'bench_job'")
    conn.execute("alter table public.bench_jobs disable trigger user")
    conn.execute(NEW_ROWS, (number,))
    _fill(peer, number, environment)
    conn.execute("vacuum analyze")
    conn.execute("checkpoint")
    assert left(conn, peer.left) == number
    with process(peer.worker(PYTHON), environment) as worker:
        per_s = rate(conn, worker, peer.left, number)
    done = conn.execute(DONE).fetchone()
    assert done == (number, number, number), (peer.name, done)
    conn.execute(peer.empty)
    conn.execute("alter table public.bench_jobs enable trigger user")
    return per_s


def _fill(peer: Peer, number: int, environment: Mapping[str, str]) -> None:
    command = [PYTHON, "-m", peer.module, "fill", str(number)]
    subprocess.run(command, env={**os.environ, **environment}, check=True)  # noqa: S603  # our own command


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
