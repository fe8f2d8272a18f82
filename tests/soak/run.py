"""All of pgfleet under a steady load for half an hour or longer: nothing may grow. `make soak MINUTES=30`."""

import argparse
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parent.parent))
from hunt.run import commit, say
from soak.bounds import bounds
from soak.ending import rest, wrong
from soak.fleet import SQL, Fleet, fleet
from soak.looking import Looks
from soak.page import page, written
from soak.pages import pages
from soak.slopes import Trend, trends
from soak.traffic import DAYS, traffic

FOUND = Path(__file__).parents[2] / "build" / "soak.json"
NODES, EVERY_S = 300, 10
# What is kept for a while, but for whole days.
KEPT_S = 180


def main() -> int:
    given = asked()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # Whoever ends it ends all that it has started.
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda number, _: sys.exit(128 + number))
    span_s = 60 * given.minutes
    warm_s, look_s = min(600.0, span_s / 3), min(15.0, span_s / 30)
    with fleet() as running:
        looks, odd = _run(running, span_s, look_s, given.seed, min(KEPT_S, span_s / 4))
    found = list(trends(looks.after(warm_s), bounds(given.loose)))
    figures = {
        "commit": commit(),
        "minutes": round(looks.seconds() / 60, 1),
        "warm_s": warm_s,
        "seed": given.seed,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "done": dict(looks.told.done),
        "let_go": looks.let_go,
        "days_dropped": len(looks.days_at_first - looks.days),
        "wrong": odd,
        "trends": [vars(each) | {"is_flat": each.is_flat} for each in found],
        "points": looks.points,
    }
    FOUND.parent.mkdir(exist_ok=True)
    FOUND.write_text(json.dumps(figures, indent=1), "utf-8")
    say(page(figures))
    if given.write:
        written(figures)
    return _told(found, odd, looks)


def _told(found: Sequence[Trend], odd: Sequence[str], looks: Looks) -> int:
    grows = [f"{each.name} has added {each.added:g}, at most {each.most:g}" for each in found if not each.is_flat]
    if not looks.let_go.get("status_history"):
        odd = [*odd, "nothing was pruned"]
    if not looks.days_at_first - looks.days:
        odd = [*odd, "no day was dropped"]
    for line in (*odd, *grows):
        say(f"WRONG: {line}")
    return 1 if odd or grows else 0


def _run(running: Fleet, span_s: float, look_s: float, seed: int, kept_s: float) -> tuple[Looks, list[str]]:
    running.conn.execute(SQL["shorten_days"], {"days": DAYS})
    running.conn.execute(SQL["shorten"], {"seconds": kept_s})
    with traffic(running, seed) as told, pages(running) as shown, _heartbeats(running, span_s):
        looks = Looks(running, told, shown)
        while looks.seconds() < span_s:
            looks.look()
            running.started.check()
            if len(looks.points["sessions"]) % 20 == 0:
                say(f"{looks.seconds():.0f} s: {dict(told.done)}, {len(told.odd)} odd")
            time.sleep(max(0.0, look_s - looks.seconds() % look_s))
    return looks, [*rest(running), *wrong(running, told)]


@contextmanager
def _heartbeats(running: Fleet, span_s: float) -> Iterator[None]:
    """Of some hundred nodes, with all that may be wrong with them."""
    flags = [f"--nodes={NODES}", f"--interval={EVERY_S}", f"--for={span_s + 60}", "--json"]
    command = [sys.executable, "-m", "pgfleet.console.main", "simulate", "fleet", *flags]
    environment = {**os.environ, "DATABASE_URL": running.dsn, "PGAPPNAME": "soak"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        assert process.poll() is None, "the nodes have ended"
    finally:
        process.terminate()
        process.wait()


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loose", type=float, default=1, help="bounds are so many times as wide")
    parser.add_argument("--write", action="store_true", help="write the table into the page of results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
