"""Who works in a hunt: workers of all kinds in the hunt's own thread, or in processes that can be killed."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from random import Random
from threading import Event
from typing import Protocol

import psutil  # type: ignore[import-untyped]

from crashes.nursery import Nursery, nursery
from hunt.known import CREW
from pgfleet.schema.kinds import contracts
from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.running import UNREACHABLE
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.work import work
from worlds.fleet import Worker, worker_on

MODULES = ",".join(f"pgfleet.workers.{kind}" for kind in contracts())


class Crew(Protocol):
    """Two workers of every kind, by number. Who is killed or ended has a successor at once."""

    def work(self, pause_s: float) -> bool: ...
    def kill(self, number: int) -> None: ...
    def pause(self, number: int) -> None: ...
    def go_on(self, number: int) -> None: ...
    def end(self, number: int) -> None: ...


@dataclass
class Threads:
    """In the hunt's own thread, a batch after the other: what happens depends on the seed alone, or nearly so."""

    dice: Random
    workers: list[list[Worker]]
    held: dict[int, list[tuple[Worker, list[Task]]]] = field(default_factory=dict)

    def work(self, pause_s: float) -> bool:
        """A few batches; whether there was anything to do."""
        worked = 0
        for _ in range(1 + int(pause_s * 10)):
            free = [number for number in range(CREW) if number not in self.held] or [0]
            workers = self.workers[self.dice.choice(free)]
            for worker in self.dice.sample(workers, len(workers)):
                # As a consumer does: it comes again, and what it may have claimed is free when its lease ends.
                with suppress(*UNREACHABLE):
                    worked += worker.run_once(self.dice.choice((1, 3, 50)))
        return bool(worked)

    def kill(self, number: int) -> None:
        self.held.pop(number, None)
        for worker in self.workers[number]:
            with suppress(*UNREACHABLE):
                worker.die(self.dice.choice((1, 3)))

    def pause(self, number: int) -> None:
        if number not in self.held:
            self.held[number] = [(worker, _claimed(worker)) for worker in self.workers[number]]

    def go_on(self, number: int) -> None:
        for worker, tasks in self.held.pop(number, ()):
            work(worker.running, tasks)

    def end(self, number: int) -> None:
        self.go_on(number)


def _claimed(worker: Worker) -> list[Task]:
    try:
        return worker.claim(3)
    except UNREACHABLE:
        return []


@contextmanager
def threads(settings: Settings, seed: int) -> Iterator[Threads]:
    kinds = [import_module(f"pgfleet.workers.{kind}.machine").KIND for kind in contracts()]
    with ExitStack() as stack:
        workers = [[stack.enter_context(worker_on(kind, settings)) for kind in kinds] for _ in range(CREW)]
        yield Threads(Random(seed), workers)


@dataclass
class Processes:
    """As dramatiq's command line starts them, each of all kinds."""

    forks: Nursery
    environment: Mapping[str, str]
    grace_s: float
    running: dict[int, tuple[int, ExitStack]] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)

    def start(self, number: int) -> None:
        stack = ExitStack()
        pid = stack.enter_context(self.forks.worker(MODULES, self.environment))
        self.running[number] = pid, stack

    def work(self, pause_s: float) -> bool:
        """They go on by themselves, and one that could not begin is begun again."""
        Event().wait(pause_s)
        for number, (pid, _) in list(self.running.items()):
            if not psutil.pid_exists(pid):
                self.kill(number)
        return False

    def kill(self, number: int) -> None:
        self.running.pop(number)[1].close()
        self.start(number)

    def pause(self, number: int) -> None:
        self._send(number, signal.SIGSTOP)

    def go_on(self, number: int) -> None:
        self._send(number, signal.SIGCONT)
        if not psutil.pid_exists(self.running[number][0]):
            self.kill(number)

    def end(self, number: int) -> None:
        """One that does not end within its grace is a fault."""
        self.go_on(number)
        process = psutil.Process(self.running[number][0])
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(self.grace_s)
        except psutil.TimeoutExpired:
            self.late.append(f"worker {number} did not end within {self.grace_s} s")
        self.kill(number)

    def close(self) -> None:
        for _, stack in self.running.values():
            stack.close()

    def _send(self, number: int, sign: signal.Signals) -> None:
        try:
            os.killpg(self.running[number][0], sign)
        except ProcessLookupError:  # it has ended by itself
            self.kill(number)


@contextmanager
def processes(environment: Mapping[str, str], grace_s: float) -> Iterator[Processes]:
    with nursery() as forks:
        crew = Processes(forks, environment, grace_s)
        try:
            for number in range(CREW):
                crew.start(number)
            yield crew
        finally:
            crew.close()
