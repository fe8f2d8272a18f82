"""The figures of deploy/docs/sizing.md: what was measured, and fleets that are made of it."""

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from bench import database
from bench.figures import put
from bench.sizing.loads import every, world
from bench.sizing.measuring import DEADLINE_S, Cost, cost
from pgfleet.schema.database.sessions import open_session

PAGE = Path(__file__).parents[2] / "deploy/docs/sizing.md"
BEGIN, END = "<!-- Figures: written by `python -m bench sizing --write` -->\n", "<!-- The end of the figures -->\n"
BEAT_S = 30
FLEETS = (1_000, 10_000, 30_000, 100_000)
DAILY = (1_000, 10_000, 100_000)
# A reservation of eight hours is looked at once a minute, beside being watched.
HOURS, LOOKS_PER_H = 8, 60
DAY_S = 86_400
COSTS = ("of a message", "messages for one", "CPU of the worker, us", "CPU of PostgreSQL, us", "WAL, kB", "kept, kB")
NODES = (
    *("nodes, a heartbeat each 30 s", "heartbeats a second", "cores of workers", "cores of PostgreSQL", "WAL, MB/s"),
    *("disk a day, GB", "disk in all, GB"),
)
RESERVED = (
    *("reservations a day, of 8 hours", "messages a second", "cores of workers", "cores of PostgreSQL"),
    "history a day, GB",
)


def measure(*, write: bool = False) -> dict[str, Any]:
    """What each load costs, one after the other; with `write`, into the page."""
    load = os.getloadavg()[0]
    with database.temporary() as dsn, open_session(dsn, autocommit=True, longest_s=DEADLINE_S) as conn, world() as box:
        costs = {each.name: cost(conn, dsn, each) for each in every(conn, box)}
        version = conn.execute("show server_version").fetchone()
    if write:
        put(PAGE, BEGIN, END, figures(costs, str(version[0] if version else ""), load))
    return {"bench": "sizing", **{name: asdict(each) for name, each in costs.items()}}


def figures(costs: Mapping[str, Cost], version: str, load: float) -> str:
    """The part of the page that is measured, or follows from it; `load` is that of the machine before it began."""
    beat, _, reservation, look, *_ = costs.values()
    tables = (
        _table((*COSTS, "sessions of one worker"), (_cost(name, each) for name, each in costs.items())),
        _table(NODES, (_nodes(number, beat) for number in FLEETS)),
        _table(RESERVED, (_reserved(number, reservation, look) for number in DAILY)),
    )
    return "\n".join([f"Measured on {machine(load)}, PostgreSQL {version}, commit {commit()}.\n", *tables])


def _table(titles: Sequence[str], rows: Iterable[str]) -> str:
    return f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|\n{''.join(rows)}"


def _cost(name: str, each: Cost) -> str:
    numbers = f"{each.messages:.1f} | {each.worker_us:,.0f} | {each.server_us:,.0f}"
    return f"| {name} | {numbers} | {each.wal_bytes / 1e3:.1f} | {each.kept_bytes / 1e3:.1f} | {each.sessions} |\n"


def _nodes(number: int, beat: Cost) -> str:
    per_s = number / BEAT_S
    daily_gb = per_s * DAY_S * beat.kept_bytes / 1e9
    cores = f"{per_s * beat.worker_us / 1e6:.2f} | {per_s * beat.server_us / 1e6:.2f}"
    wal = per_s * beat.wal_bytes / 1e6
    held_gb = per_s * DAY_S * beat.held_bytes / 1e9
    return f"| {number:,} | {per_s:,.0f} | {cores} | {wal:.2f} | {daily_gb:,.1f} | {held_gb:,.0f} |\n"


def _reserved(number: int, reservation: Cost, look: Cost) -> str:
    """From its request to its end, and the looks in between, which leave nothing."""
    per_s, looks_per_s = number * reservation.messages / DAY_S, number * HOURS * LOOKS_PER_H / DAY_S
    workers = (per_s * reservation.worker_us + looks_per_s * look.worker_us) / 1e6
    server = (per_s * reservation.server_us + looks_per_s * look.server_us) / 1e6
    daily_gb = number * reservation.messages * reservation.kept_bytes / 1e9
    return f"| {number:,} | {per_s + looks_per_s:,.0f} | {workers:.2f} | {server:.2f} | {daily_gb:.2f} |\n"


def machine(load: float) -> str:
    """This one in words; `load` is what it had before the bench began."""
    models = [line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith("model name")]
    name = models[0].partition(":")[2].strip() if models else platform.machine()
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores of {name} with {memory:.0f} GB, load {load:.1f} before it began"


def commit() -> str:
    git = ["git", "rev-parse", "--short=10", "HEAD"]
    return subprocess.run(git, cwd=PAGE.parent, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
