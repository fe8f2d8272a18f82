"""Whether a process is alive: its loops come round, its threads are there, and nothing hangs."""

import threading
from collections.abc import Mapping, Sequence

import structlog

from pgfleet.workers.runtime.inside.hangs import HANGS_LEASES, in_words
from pgfleet.workers.runtime.inside.pulse import Pulse
from pgfleet.workers.runtime.outside.readiness import SILENT_S
from pgfleet.workers.runtime.running import Running

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Life:
    """What `/livez` says. A process that is ending is left alone: it has its own time limit."""

    def __init__(
        self, running: Sequence[Running], threads: Sequence[threading.Thread], pulses: Mapping[str, Pulse]
    ) -> None:
        self.running = running
        self.threads = threads
        self.dead: dict[str, str] = {}
        self.pulses = {**pulses, **{f"the consumer of {each.kind.queue}": each.pulse for each in running}}

    def problems(self) -> list[str]:
        """Why the process ought to be started again, in words."""
        if any(running.draining.is_set() for running in self.running):
            return []
        hanging = [in_words(running, each) for running in self.running for each in running.progress.hanging()]
        return [*hanging, *self._silent(), *self.dead.values()]

    def note_death(self, death: threading.ExceptHookArgs) -> None:
        """For `threading.excepthook`: an exception that a thread of the process has ended with."""
        name = death.thread.name if death.thread else "a thread"
        log.error("thread.died", thread=name, exc_info=(death.exc_type, death.exc_value, death.exc_traceback))
        if death.thread in self.threads:
            self.dead[name] = f"the thread {name} has ended with {death.exc_type.__name__}"

    def _silent(self) -> list[str]:
        limit_s = max(SILENT_S, *(HANGS_LEASES * running.leases.lease_s for running in self.running))
        silent = {name: pulse.silent_s() for name, pulse in self.pulses.items()}
        return [
            f"{name} has not come round for {since_s:.0f} s" for name, since_s in silent.items() if since_s > limit_s
        ]
