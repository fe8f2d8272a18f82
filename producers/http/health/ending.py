"""That this process is to end: asked by a signal, and told first to whatever keeps requests open."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from pgfleet.producers.submit.terminal import EXIT_INTERRUPTED


@dataclass
class Ending:
    """Asked for by anybody, at any time; begun by the server, on its loop, once.

    Attributes:
        is_asked: somebody wants it to end.
        has_begun: it takes nothing new that lasts, and is not ready.
    """

    is_asked: bool = False
    has_begun: bool = False
    _told: list[Callable[[], None]] = field(default_factory=list)

    def tell(self, call: Callable[[], None]) -> None:
        """Call this on the loop when it begins."""
        self._told.append(call)

    def begin(self) -> None:
        if self.has_begun:
            return
        self.has_begun = True
        for call in self._told:
            call()


def end_by_signals(ending: Ending) -> None:
    """From now on SIGTERM or Ctrl-C asks for the end; the second Ctrl-C is the end, whatever is still open."""

    def ask(number: int, _frame: object) -> None:
        if ending.is_asked and number == signal.SIGINT:
            os._exit(EXIT_INTERRUPTED)
        ending.is_asked = True

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, ask)
