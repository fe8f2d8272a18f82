"""Ten thousand deaths: `run.py --seed 1 --kills 10000` writes what became of all into tests/crashes/RESULTS.md.

Nobody is killed for a while after each thousandth: then all that is due is answered, and what must hold is looked at.
"""

import argparse
import logging
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import structlog

sys.path.insert(0, str(Path(__file__).parents[2]))
from crashes.nursery import nursery
from crashes.storm import forks
from crashes.storm.crew import Crew
from crashes.storm.load import Load, asking
from crashes.storm.report import Report, written
from hunt import quiet
from hunt.acts import ViolatedError
from hunt.invariants import always
from hunt.known import RECEIVERS, Known
from hunt.playing import end
from hunt.run import ground, say
from hunt.world import SANDBOX, SETTINGS, World, connected, furnish
from pgfleet.console import sandbox
from worlds.api.program import UNBOUND
from worlds.database import fresh_database, temporary_folder
from worlds.fleet import worker_environment
from worlds.network.ports import free_port
from worlds.receiver import receiving

LEASE_S, PATIENCE_S = 3, 900.0
SHARES = {"reservation": 0.24, "disk": 0.17, "assignment": 0.19, "heartbeat": 0.16, "event": 0.16, "api": 0.08}
# Nobody is killed for a while after so many deaths, or so long.
REST_AFTER, REST_AFTER_S = 1000, 480
TOLD_EVERY = 100
WATCH = (Path(__file__).parent / "watch.sql").read_text("utf-8")
OWN: dict[str, Any] = {
    **SETTINGS,
    "lease_s": LEASE_S,
    # A message has the bad luck to be in hand at many deaths, which is no reason to give it up.
    "attempts": 1000,
    # Each that its worker may have died of runs alone, so that the fewer are in hand the sooner all have run again.
    "effect_threads": 6,
    "backoff_cap_s": 0.5,
    "expiry_grace_s": 0,
    "line_recheck_s": 10,
    "watch_s": 2,
    "statement_timeout_s": 10,
    "kubernetes_timeout_s": 10,
    "ssh_keys_timeout_s": 10,
    "aws_timeout_s": 10,
    "hopsworks_timeout_s": 10,
}


@contextmanager
def stormy(seed: int, kills: int) -> Iterator[tuple[World, Crew]]:
    with ExitStack() as stack:
        place = stack.enter_context(ground())
        dsn = stack.enter_context(fresh_database(place.dsn, place.template))
        box = stack.enter_context(sandbox.spawned(**SANDBOX))
        receivers = [stack.enter_context(receiving()) for _ in range(RECEIVERS)]
        folder = stack.enter_context(temporary_folder(Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp")))  # noqa: S108
        port = free_port()
        environment = (
            worker_environment(dsn, box, **OWN) | box.aws_environment | UNBOUND | {"PGFLEET_LOG_LEVEL": "critical"}
        )
        running = stack.enter_context(nursery(forks.__file__, environment))
        shares = {kind: round(share * kills) for kind, share in SHARES.items()}
        crew = Crew(running, port, folder, Random(seed), shares, LEASE_S + 3)
        world = World(dsn, connected(dsn), box, crew, f"http://127.0.0.1:{port}", receivers)
        stack.callback(world.close)
        stack.callback(crew.close)
        furnish(world)
        world.conn.execute(WATCH.encode())
        crew.start_all()
        yield world, crew


def play(world: World, crew: Crew, seed: int, minutes: float) -> None:
    """Raises AssertionError where something does not hold."""
    load, rests, began, told = Load(world, Known(Random(seed))), 1, time.monotonic(), 0
    ends = began + 60 * minutes

    def over() -> bool:
        return crew.is_over() or time.monotonic() > ends

    while not over():
        enough, until_s = len(crew.kills) + REST_AFTER, time.monotonic() + REST_AFTER_S
        with asking(world, seed + 1000 * rests):
            while not over() and len(crew.kills) < enough and time.monotonic() < until_s:
                crew.tick()
                load.tick()
                if len(crew.kills) >= told + TOLD_EVERY:
                    told = len(crew.kills)
                    say(f"{time.strftime('%H:%M:%S')} {told} deaths")
                time.sleep(0.002)
            crew.rest()
        come_to_rest(world)
        say(f"{time.strftime('%H:%M:%S')} {load.asked} asked for")
        say(written(Report(world, crew, seed, LEASE_S, time.monotonic() - began, "")))
        rests += 1
        crew.go()
    crew.rest()
    end(world)


def come_to_rest(world: World) -> None:
    """All is cancelled, so that those who wait do not grow in number; all is answered then, and what must hold does.

    Raises:
        AssertionError: something does not hold, or there is always something to do.
    """
    quiet.mend(world)
    quiet.rest(world)
    wrong = list(always(world))
    if wrong:
        raise ViolatedError("\n".join(wrong))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=60, help="nobody is killed any more after so long")
    parser.add_argument("--no-page", action="store_true", help="do not write what was found into RESULTS.md")
    given = parser.parse_args()
    # Whatever else the machine has to do, it is no fault of what comes to rest.
    quiet.PATIENCE_S = PATIENCE_S
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # Whoever ends it ends all that it has started.
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda number, _: sys.exit(128 + number))
    began, wrong = time.monotonic(), ""
    with stormy(given.seed, given.kills) as (world, crew):
        try:
            play(world, crew, given.seed, given.minutes)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told with what was seen so far
            wrong = str(error) if isinstance(error, AssertionError) else "".join(traceback.format_exception(error))
        found = written(Report(world, crew, given.seed, LEASE_S, time.monotonic() - began, wrong))
    say(found)
    if not given.no_page:
        page = Path(__file__).parents[1] / "RESULTS.md"
        runs, others, rest = page.read_text("utf-8").partition("## Machines of hypothesis")
        page.write_text(f"{runs}{found}\n{others}{rest}", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
