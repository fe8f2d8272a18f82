"""Each goal with what was measured for it in one run, and whether it is reached."""

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import api, claim, heartbeats, peers, transitions, wake
from bench.figures import put
from bench.goals import growth, lines, picture
from bench.peers import page
from bench.sizing.page import commit

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "bench/README.md"
BEGIN, END = "<!-- Goals: written by `make bench WRITE=1` -->\n", "<!-- The end of the goals -->\n"
BEGIN_LARGE = "<!-- Goals of `make bench-large`: written by `make bench-large WRITE=1` -->\n"
END_LARGE = "<!-- The end of the goals of `make bench-large` -->\n"
ROUNDS = 20_000_000
Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be reached: at least `least`, or at most `most`; `of` finds it in what a bench has measured."""

    what: str
    bench: str
    of: Callable[[Figures], float]
    least: float | None = None
    most: float | None = None

    def is_reached(self, measured: float) -> bool:
        return (self.least is None or measured >= self.least) and (self.most is None or measured <= self.most)

    @property
    def wanted(self) -> str:
        return f"at least {self.least:,g}" if self.least is not None else f"at most {self.most:,g}"


BENCHES: dict[str, Callable[[], Figures]] = {
    "transitions": lambda: transitions.measure(number=20_000),
    "peers": peers.measure,
    "wake": wake.measure,
    "claim": claim.measure,
    "heartbeats": lambda: heartbeats.measure(number=40_000),
    "api": api.measure,
}
LARGE: dict[str, Callable[[], Figures]] = {
    "claim-large": lambda: claim.measure(delayed=10_000_000),
    "growth": growth.measure,
}


def _at_half(way: str) -> Callable[[Figures], float]:
    return lambda figures: float(figures[f"{way}_at_half_p99_ms"])


def _of_most(name: str) -> Callable[[Figures], float]:
    """Where the most has been."""
    return lambda figures: float(list(figures[name].values())[-1])


GOALS = (
    Goal("transitions, beside the raw pipelined limit", "transitions", lambda f: float(f["ratio"]), least=1.2),
    Goal("transitions, beside the best peer", "peers", lambda f: float(min(f["pgfleet_ratio"].values())), least=6),
    Goal("CPU of the worker a transition, us", "transitions", lambda f: float(f["worker_cpu_us"]), most=25),
    Goal("CPU of PostgreSQL a transition, us", "transitions", lambda f: float(f["postgres_cpu_us"]), most=25),
    Goal("heartbeats, beside the raw set-based limit", "heartbeats", lambda f: float(f["ratio"]), least=0.85),
    Goal("WAL of a heartbeat, bytes", "heartbeats", lambda f: float(f["wal_bytes"]), most=4_000),
    Goal(
        "begin of the step above the sender's commit, ms, half", "wake", lambda f: f["wake_above_commit_p50_ms"], most=1
    ),
    Goal("the same, ms, 99 of 100 within", "wake", lambda f: float(f["wake_above_commit_p99_ms"]), most=3),
    Goal("transactions a second of an idle worker", "wake", lambda f: float(f["idle_transactions_per_s"]), most=1),
    Goal("claim among 300,000 delayed, ms", "claim", lambda f: float(f["delayed_p50_ms"]), most=1),
    Goal("claim after 100,000, xmin held, ms", "claim", lambda f: float(f["xmin_held_p50_ms"]), most=3),
    Goal("claim, the queue last analyzed empty, ms", "claim", lambda f: float(f["analyzed_empty_p50_ms"]), most=1),
    Goal("API: a row, requests a second", "api", lambda f: float(f["get_per_s"]), least=1_000),
    Goal("API: a page of 50, requests a second", "api", lambda f: float(f["page_per_s"]), least=500),
    Goal("API: POST, requests a second", "api", lambda f: float(f["post_per_s"]), least=800),
    *(
        Goal(f"the same at half of its rate, {name}, ms, 99 of 100", "api", _at_half(way), most=20)
        for name, way in (("a row", "get"), ("a page", "page"), ("POST", "post"))
    ),
    Goal("claim among 10,000,000 delayed, ms", "claim-large", lambda f: float(f["delayed_p50_ms"]), most=1),
    Goal("10,000,000 waiting, beside none", "growth", lambda f: float(f["ratio"]), least=0.9),
    Goal("WAL of a heartbeat, 100,000,000 counted, bytes", "growth", _of_most("heartbeat_wal_bytes"), most=4_000),
)
NOT_HERE = "Not measured here: submit to active on a real control plane; it needs one."


def measure(*, large: bool = False, write: bool = False) -> dict[str, Any]:
    """Run the benches one after the other, and say of each goal whether it is reached; with `write`, on the page."""
    load, speed, began = os.getloadavg()[0], _speed(), time.monotonic()
    found = {name: _told(name, bench) for name, bench in (LARGE if large else BENCHES).items()}
    rows = _rows(found)
    print("\n".join(rows), file=sys.stderr)
    if write:
        took = f"{(time.monotonic() - began) / 60:.0f} minutes"
        begin, end = (BEGIN_LARGE, END_LARGE) if large else (BEGIN, END)
        measured = f"Measured in {took}, commit {commit()}, {os.cpu_count()} cores, load before {load:.1f}, {speed}."
        put(PAGE, begin, end, "\n".join([measured, "", *rows, ""]))
        if "peers" in found:
            page.write(found["peers"])
            picture.write(found["peers"])
        if "growth" in found:
            when = f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {os.cpu_count()} cores"
            lines.write(found["growth"], when)
    return {"bench": "goals", **{name: dict(figures) for name, figures in found.items()}}


def _speed() -> str:
    """How quick this machine is at the moment, which may be another one tomorrow: what costs CPU follows it."""
    began = time.process_time()
    for _ in range(ROUNDS):
        pass
    millions = ROUNDS / (time.process_time() - began) / 1e6
    return f"Python {platform.python_version()} ({millions:.0f} million rounds of an empty loop a second)"


def _told(name: str, bench: Callable[[], Figures]) -> Figures:
    print(f"bench {name} ...", file=sys.stderr, flush=True)
    return bench()


def _rows(found: Mapping[str, Figures]) -> list[str]:
    rows = [_row(goal, goal.of(found[goal.bench])) for goal in GOALS if goal.bench in found]
    grown = [*growth.table(dict(found["growth"])), "![The same as a picture](growth.svg)"] if "growth" in found else []
    return [
        "| figure | goal | measured | reached |",
        "|---|---|---|---|",
        *rows,
        "",
        NOT_HERE,
        *([""] if grown else []),
        *grown,
    ]


def _row(goal: Goal, measured: float) -> str:
    return f"| {goal.what} | {goal.wanted} | {measured:,g} | {'yes' if goal.is_reached(measured) else '**no**'} |"
