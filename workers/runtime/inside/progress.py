"""What the threads of one queue have in hand, and since when nothing has happened to it."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pgfleet.workers.runtime.leases import Leases
from pgfleet.workers.runtime.task import Task

# A step that lasts so long waits for somebody.
LASTS_S = 0.2


@dataclass(eq=False, slots=True)
class Claim:
    """Messages that one thread answers. `moved_at`: when something last happened to one of them (time.monotonic)."""

    thread: threading.Thread
    tasks: set[Task]
    moved_at: float
    stands: bool = False
    hangs: bool = False


@dataclass(eq=False, slots=True)
class Step:
    """What a thread does about some messages, mostly one, while the step is entered; its effects may last."""

    thread: threading.Thread
    tasks: Sequence[Task]
    progress: "Progress"
    begun_at: float = 0.0
    hangs: bool = False

    def __enter__(self) -> None:
        self.begun_at = time.monotonic()
        self.progress.begin(self)

    def __exit__(self, *_: object) -> None:
        self.progress.end(self)


@dataclass(frozen=True, slots=True)
class Found:
    """What does not go on.

    Attributes:
        untouched: messages that nobody is about to step: not ours any more.
        standing: claims that wait for a step, or for the database, seen for the first time.
        hanging: steps, and claims without one, that have lasted too long: their messages are not ours any more either.
    """

    untouched: list[Task]
    standing: list[Claim]
    hanging: list[Step | Claim]


class Progress:
    """Safe to use from every thread."""

    def __init__(self, leases: Leases) -> None:
        self.leases = leases
        self._lock = threading.Lock()
        self._claims: dict[Task, Claim] = {}
        self._open: set[Claim] = set()
        self._steps: set[Step] = set()

    @contextmanager
    def claim(self, tasks: Sequence[Task]) -> Iterator[None]:
        """While this thread answers some messages."""
        claim = Claim(threading.current_thread(), set(tasks), time.monotonic())
        with self._lock:
            self._open.add(claim)
            self._claims.update(dict.fromkeys(tasks, claim))
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(claim)
                for task in tasks:
                    self._claims.pop(task, None)
            self.leases.drop(task.token for task in tasks)

    def step(self, tasks: Sequence[Task]) -> Step:
        """To be entered while this thread does something about some messages."""
        return Step(threading.current_thread(), tasks, self)

    def begin(self, step: Step) -> None:
        with self._lock:
            self._steps.add(step)
            self._move(step.tasks, step.begun_at)

    def end(self, step: Step) -> None:
        with self._lock:
            self._steps.discard(step)
            self._move(step.tasks, time.monotonic())

    def at_work(self) -> set[Task]:
        """The messages that some thread does something about at this moment."""
        with self._lock:
            return {task for step in self._steps for task in step.tasks}

    def answered(self, tasks: Sequence[Task]) -> None:
        """What becomes of these messages is committed."""
        with self._lock:
            self._move(tasks, time.monotonic())
            for task in tasks:
                claim = self._claims.pop(task, None)
                if claim is not None:
                    claim.tasks.discard(task)
        self.leases.drop(task.token for task in tasks)

    def thread_that_waits(self, tasks: Sequence[Task]) -> threading.Thread | None:
        """The thread that answers these messages, if all that it still has to do is to wait for steps that last."""
        with self._lock:
            claim = next((self._claims[task] for task in tasks if task in self._claims), None)
            if claim is None:
                return None
            lasting = {task.key for step in self._lasting() for task in step.tasks}
            # Another message about such a row waits for the same step.
            return claim.thread if all(task.key in lasting for task in claim.tasks) else None

    def lasting(self) -> int:
        """How many threads for effects are at a step that lasts."""
        with self._lock:
            return len(self._lasting())

    def _lasting(self) -> list[Step]:
        begun_before = time.monotonic() - LASTS_S
        threads = {claim.thread for claim in self._open}
        steps = [step for step in self._steps if step.begun_at < begun_before and not step.hangs]
        return [step for step in steps if step.thread not in threads]

    def find(self, now: float, stands_s: float, hangs_s: float) -> Found:
        """What has not gone on for so long. The leases of what is found untouched or hanging are dropped."""
        with self._lock:
            stepped = {task for step in self._steps for task in step.tasks}
            standing = [claim for claim in self._open if now - claim.moved_at >= stands_s]
            untouched = [task for claim in standing for task in claim.tasks - stepped]
            hanging = self._hanging(now, hangs_s, stepped)
            # Under the lock: what begins later finds its lease gone.
            gone = untouched + [task for each in hanging for task in each.tasks]
            self.leases.drop(task.token for task in gone)
            for task in untouched:
                self._claims.pop(task).tasks.discard(task)
            new = [claim for claim in standing if not claim.stands]
            for claim in new:
                claim.stands = True
            for each in hanging:
                each.hangs = True
        return Found(untouched, new, hanging)

    def in_hand(self) -> list[Step | Claim]:
        """All steps, and the claims that are at something else."""
        with self._lock:
            threads = {step.thread for step in self._steps}
            stepped = {task for step in self._steps for task in step.tasks}
            waiting = [claim for claim in self._open if claim.thread not in threads and not claim.tasks & stepped]
            return [*self._steps, *waiting]

    def hanging(self) -> list[Step | Claim]:
        """What has hung for too long, and still does."""
        with self._lock:
            steps, claims = list(self._steps), list(self._open)
        return [*(step for step in steps if step.hangs), *(claim for claim in claims if claim.hangs)]

    def _hanging(self, now: float, hangs_s: float, stepped: set[Task]) -> list[Step | Claim]:
        steps = [step for step in self._steps if now - step.begun_at >= hangs_s and not step.hangs]
        claims = [
            claim
            for claim in self._open
            if now - claim.moved_at >= hangs_s and not claim.hangs and not claim.tasks & stepped
        ]
        alone = [claim for claim in claims if not any(step.thread is claim.thread for step in self._steps)]
        return [*steps, *alone]

    def _move(self, tasks: Sequence[Task], now: float) -> None:
        for task in tasks:
            claim = self._claims.get(task)
            if claim is not None:
                claim.moved_at = now
                claim.stands = False
