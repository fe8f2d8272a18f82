"""The end of a process that was asked to end: what it has in hand is finished or given back, or left behind."""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from pgfleet.workers.runtime.inside.hangs import in_words, stack
from pgfleet.workers.runtime.running import Running

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# The exit code of a process that had to leave something that hung.
EXIT_HUNG = 70
LOOK_S = 0.05
# After the time limit: until even a process whose threads can't run Python any more is ended.
LAST_S = 2.0
STDERR = 2


@contextmanager
def ended_at_once() -> Iterator[None]:
    """While a process boots, SIGTERM ends it, whatever it waits for: it has claimed nothing yet."""

    def end(*_: object) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Ending(threading.Thread):
    """Ends the process when its time is up, whatever hangs."""

    def __init__(self, running: Sequence[Running], limit_s: float) -> None:
        super().__init__(name="ending", daemon=True)
        self.running = running
        self.limit_s = limit_s

    def run(self) -> None:
        faulthandler.dump_traceback_later(self.limit_s + LAST_S, exit=True, file=STDERR)
        time.sleep(self.limit_s)
        self._tell()
        sys.stderr.flush()
        os._exit(EXIT_HUNG)

    def wait(self) -> None:
        """Until nothing is in hand any more that could still be finished; the process ends before, if it must."""
        while any(not each.hangs for running in self.running for each in running.progress.in_hand()):
            time.sleep(LOOK_S)

    def _tell(self) -> None:
        hung = [in_words(running, each) for running in self.running for each in running.progress.in_hand()]
        threads = [each.thread for running in self.running for each in running.progress.in_hand()]
        stacks = {thread.name: stack(thread) for thread in (threading.main_thread(), *threads)}
        log.error("worker.hung", after_s=self.limit_s, in_hand=hung, where=stacks)
