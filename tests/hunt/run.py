"""A search by seed: `python tests/hunt/run.py --seed 1 --minutes 30`; odd seeds run in processes that are killed.

A seed that fails is played again with fewer and fewer steps, as long as it still fails, and told as a story.
"""

import argparse
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
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


def fails(place: Ground, seed: int, steps: Sequence[Step]) -> bool:
    return failure(place, seed, steps) is not None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--by", type=int, default=1, help="from one seed to the next; 2 keeps to threads or to processes"
    )
    parser.add_argument("--only", action="store_true", help="this seed and no other")
    parser.add_argument("--shrink-s", type=float, default=SHRINK_S, help="so long at most for each seed that fails")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    say = _saying()
    failed, seeds, played = [], 0, 0
    ends = time.monotonic() + 60 * given.minutes
    with ground() as place:
        seed = given.seed
        while time.monotonic() < ends or not seeds:
            steps = plan(seed, given.steps, has_processes=seed % 2 == 1)
            began = time.monotonic()
            wrong = failure(place, seed, steps)
            say(f"seed {seed}: {'FAILED' if wrong else 'all held'} in {time.monotonic() - began:.0f} s")
            seeds, played = seeds + 1, played + len(steps)
            if wrong:
                failed.append(seed)
                say(wrong)
                few = shrunk(steps, partial(fails, place, seed), given.shrink_s)
                say("\n".join([f"The story of seed {seed}, {len(few)} of {len(steps)} steps:", *story(few)]))
                if len(few) < len(steps):
                    say(f"It ends so: {failure(place, seed, few) or 'all held the last time'}")
            if given.only:
                break
            seed += given.by
    minutes = given.minutes + (time.monotonic() - ends) / 60
    cells = (commit.stdout.strip(), f"{given.seed} to {seed}", seeds, played, f"{minutes:.0f}", failed or "none")
    say(f"| {' | '.join(map(str, cells))} |")
    return 1 if failed else 0


def _saying() -> Callable[[str], None]:
    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    return say


if __name__ == "__main__":
    sys.exit(main())
