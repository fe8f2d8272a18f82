"""Probes: while something outside is in trouble, one worker at a time asks it about nobody."""

import threading
from collections.abc import Sequence
from functools import partial

from pgfleet.workers.runtime.outcomes import Calls, NotNowError
from pgfleet.workers.runtime.outside.breakers import LOOK_S
from pgfleet.workers.runtime.running import Running, stepped_kind, with_connection

DOING = "probe what is out"


def probe_due(running: Running) -> None:
    """Ask what is to be asked now; nothing where all is well, or where this process lacks something itself."""
    if running.ready.is_set() and running.breakers.known.is_set():
        for dependency, calls in running.breakers.look():
            _probe(running, dependency, calls)


def _probe(running: Running, dependency: str, calls: Calls) -> None:
    try:
        stepped_kind(running).probe(running.tools, partial(with_connection, running), dependency, calls)
    except NotNowError as error:
        running.breakers.unanswered(error, dependency, calls)
    else:
        running.breakers.answered(dependency, calls)


class Prober(threading.Thread):
    """Probes for the kinds of a process. It rests while all that they call answers."""

    def __init__(self, kinds: Sequence[Running]) -> None:
        super().__init__(name="prober", daemon=True)
        self.kinds = kinds
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(LOOK_S):
            for running in self.kinds:
                try:
                    probe_due(running)
                except Exception as error:  # noqa: BLE001  # whatever it is, a prober that ended would be missed
                    running.trouble.met(DOING, error)
                else:
                    running.trouble.over(DOING)

    def stop(self) -> None:
        self.stopping.set()
