"""A search by seed: `python tests/hunt/run.py --seed 1 --minutes 30`; odd seeds run in processes that are killed.

A seed that fails is played again with fewer and fewer steps, as long as it still fails, and told as a story.
"""

import argparse
import logging
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import structlog

sys.path.insert(0, str(Path(__file__).parent.parent))
from hunt.acts import plan
from hunt.known import Step
from hunt.playing import play
from hunt.shrinking import shrunk
from hunt.story import story
from hunt.world import SANDBOX, World, in_processes, in_thread
from pgfleet.console import sandbox
from pgfleet.console.local import embedded
from pgfleet.console.local.pginstall import find_programs
from pgfleet.console.sandbox import Box
from pgfleet.schema.database.migrate import migrate
from worlds.database import IN_MEMORY, ON_DISK, fresh_database, temporary_folder

STEPS = 90
SHRINK_S = 300.0


@dataclass
class Ground:
    """A server of the hunt's own, a migrated database on it by name, and sandboxes that are kept while all holds."""

    data: Path
    dsn: str
    template: str
    sandboxes: dict[bool, tuple[ExitStack, Box]] = field(default_factory=dict)

    def restart(self, mode: str) -> None:
        programs = find_programs(self.data.parent)
        programs.run("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w", "-t", "60")
        embedded.start(self.data)

    @contextmanager
    def world(self, seed: int) -> Iterator[World]:
        """A new database; what is outside is as new."""
        in_process = seed % 2 == 0
        box = self._sandbox(in_process=in_process)
        try:
            with fresh_database(self.dsn, self.template) as dsn:
                made = in_thread(dsn, box, seed) if in_process else in_processes(dsn, box, self.restart)
                with made as world:
                    yield world
        except BaseException:
            self.sandboxes.pop(in_process)[0].close()
            raise

    def _sandbox(self, *, in_process: bool) -> Box:
        if in_process not in self.sandboxes:
            stack = ExitStack()
            opened = sandbox.running(**SANDBOX) if in_process else sandbox.spawned(**SANDBOX)
            self.sandboxes[in_process] = stack, stack.enter_context(opened)
        box = self.sandboxes[in_process][1]
        box.clear_faults()
        box.aws.reset()
        return box

    def close(self) -> None:
        for stack, _ in self.sandboxes.values():
            stack.close()


@contextmanager
def ground() -> Iterator[Ground]:
    with temporary_folder(IN_MEMORY if IN_MEMORY.is_dir() else ON_DISK) as folder:
        dsn = embedded.start(folder / "data")
        with fresh_database(dsn) as template:
            migrate(template)
            place = Ground(folder / "data", dsn, urlsplit(template).path.removeprefix("/"))
            try:
                yield place
            finally:
                place.close()


def failure(place: Ground, seed: int, steps: Sequence[Step]) -> str | None:
    """What went wrong; None where all held."""
    try:
        with place.world(seed) as world:
            play(world, steps)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what the hunt looks for
        known = isinstance(error, AssertionError)
        return str(error) if known else "".join(traceback.format_exception(error))
    return None


@dataclass
class Hunt:
    """What was played so far, and the seeds that have failed."""

    place: Ground
    shrink_s: float
    plans: int = 0
    steps: int = 0
    failed: list[int] = field(default_factory=list)

    def try_seed(self, seed: int, number: int) -> None:
        steps, began = plan(seed, number, has_processes=seed % 2 == 1), time.monotonic()
        wrong = failure(self.place, seed, steps)
        say(f"seed {seed}: {'FAILED' if wrong else 'all held'} in {time.monotonic() - began:.0f} s")
        self.plans, self.steps = self.plans + 1, self.steps + len(steps)
        if wrong:
            self.failed.append(seed)
            say(wrong)
            self._tell(seed, steps, wrong)

    def _tell(self, seed: int, steps: Sequence[Step], wrong: str) -> None:
        """The story of as few steps as are found that fail in the same way."""

        def fails_so(fewer: Sequence[Step]) -> bool:
            return (failure(self.place, seed, fewer) or "").partition(":")[0] == wrong.partition(":")[0]

        few = shrunk(steps, fails_so, self.shrink_s)
        say("\n".join([f"The story of seed {seed}, {len(few)} of {len(steps)} steps:", *story(few)]))
        if len(few) < len(steps):
            say(f"It ends so: {failure(self.place, seed, few) or 'all held the last time'}")


def main() -> int:
    given = asked()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # Whoever ends it ends all that it has started.
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda number, _: sys.exit(128 + number))
    began, seed = time.monotonic(), given.seed
    with ground() as place:
        hunt = Hunt(place, given.shrink_s)
        hunt.try_seed(seed, given.steps)
        while not given.only and time.monotonic() - began < 60 * given.minutes:
            seed += given.by
            hunt.try_seed(seed, given.steps)
    minutes = f"{(time.monotonic() - began) / 60:.0f}"
    cells = (commit(), f"{given.seed} to {seed}", hunt.plans, hunt.steps, minutes, hunt.failed or "none")
    say(f"| {' | '.join(map(str, cells))} |")
    return 1 if hunt.failed else 0


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3, help="no other seed is begun after so long")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--by", type=int, default=1, help="to the next seed; 2 keeps to threads or to processes")
    parser.add_argument("--only", action="store_true", help="this seed and no other")
    parser.add_argument("--shrink-s", type=float, default=SHRINK_S, help="so long at most for each seed that fails")
    return parser.parse_args()


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
