"""Whether a process may take messages: not before all that it will call lets it do its work."""

from collections.abc import Sequence
from functools import partial
from threading import Event, Thread

import structlog

from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.inside.trouble import Trouble
from pgfleet.workers.runtime.kind import Kind
from pgfleet.workers.runtime.outcomes import NotNowError
from pgfleet.workers.runtime.running import Running

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# The first look at a queue tidies the database for a while.
SILENT_S = 30.0
LOOK_AGAIN_S, LOOK_AGAIN_MOST_S = 1.0, 30.0


class Readiness(Thread):
    """Has a process take messages as soon as its kinds lack nothing: a cluster may be away, a right not granted yet.

    What all work needs has to answer once. What else is away is an outage as any other: the rest goes on without it.
    """

    def __init__(self, running: list[Running], draining: Event, troubles: Sequence[Trouble] = ()) -> None:
        super().__init__(name="readiness", daemon=True)
        self.running = running
        self.unready = running
        self.draining = draining
        self.troubles = troubles
        self.problems = ["the worker is starting"]
        for each in running:
            self._say(each, ready=False)
            metrics.READY.labels(each.kind.queue).set_function(partial(_is_ready, each))

    def run(self) -> None:
        kinds, pause_s = [running.kind.name for running in self.unready], LOOK_AGAIN_S
        while self._look() and not self.draining.wait(pause_s):
            pause_s = min(2 * pause_s, LOOK_AGAIN_MOST_S)
        if not self.unready:
            log.info("worker.started", kinds=kinds)

    def lacking(self) -> list[str]:
        """Why the process doesn't take messages, in words."""
        if self.draining.is_set():
            return ["the worker is ending"]
        silent = [
            f"the consumer of {each.kind.queue} has not come round for {each.pulse.silent_s():.0f} s"
            for each in self.running
            if each.pulse.silent_s() > SILENT_S
        ]
        return [*self.problems, *silent, *(problem for trouble in self.troubles for problem in trouble.problems())]

    def warnings(self) -> list[str]:
        """What is in trouble outside, in words: what does not need it is done all the same."""
        return [f"{each.kind.queue}: {error.shown}" for each in self.running for error in each.breakers.troubles()]

    def _look(self) -> bool:
        """Whether something is lacking; it is logged when it is not what was lacking before."""
        found = []
        for running in self.unready:
            looked = _lacks(running)
            problems = [problem for problem in looked if isinstance(problem, str)]
            self._say(running, ready=not problems)
            # A process that is not ready tells nobody: it may be its own trouble.
            for away in (problem for problem in looked if isinstance(problem, NotNowError)):
                running.breakers.open(away)
            found.append((running, problems))
        self.unready = [running for running, problems in found if problems]
        before, self.problems = self.problems, [problem for _, problems in found for problem in problems]
        if self.problems and self.problems != before:
            log.warning("worker.not_ready", lacks=self.problems)
        return bool(self.problems)

    def _say(self, running: Running, *, ready: bool) -> None:
        if ready:
            running.ready.set()
        else:
            running.ready.clear()


def _is_ready(running: Running) -> float:
    return float(running.ready.is_set() and not running.trouble.problems())


def _lacks(running: Running) -> list[str | NotNowError]:
    """What the kind lacks. Whatever goes wrong while it looks is the next thing to be mended."""
    if not isinstance(running.kind, Kind):
        return []
    try:
        return list(running.kind.lacks(running.tools))
    except Exception as error:
        log.exception("worker.look_failed", kind=running.kind.name)
        return [f"{running.kind.name}: {type(error).__name__}"]
