"""The look at everything: once a minute one worker lists the nodes, and what pods have of them that are not ours."""

import random
import threading

import structlog

from pgfleet.workers.clients.kubernetes.watch.nodes import Nodes
from pgfleet.workers.reservation.cluster.book import Book

log: structlog.stdlib.BoundLogger = structlog.get_logger()

AGAIN_S = 5.0


class Looker(threading.Thread):
    """Takes the look whenever it is due and nobody else has it, until it is stopped."""

    def __init__(self, nodes: Nodes, book: Book) -> None:
        super().__init__(name="look-at-nodes", daemon=True)
        self.nodes = nodes
        self.book = book
        self.stopping = threading.Event()
        self._problem: str | None = None

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                wait_s = self._due()
            except Exception as error:  # noqa: BLE001  # whatever it is, a look that ended would be missed by nobody
                self._note(error)
                wait_s = AGAIN_S
            self.stopping.wait(wait_s + random.uniform(0, 1))  # noqa: S311  # no secret: not all workers at once

    def stop(self) -> None:
        self.stopping.set()

    def _due(self) -> float:
        """Look if the look is due; for how long it is not."""
        wait_s = self.book.take_look()
        if wait_s:
            return wait_s
        try:
            self.look()
        except Exception as error:
            self.book.note_look(None, f"{type(error).__name__}: {error}"[:500])
            raise
        self._problem = None
        return AGAIN_S

    def look(self) -> None:
        """See everything, and write it down."""
        listed_at = self.book.now()
        self.book.nodes(self.nodes.all(), listed_at)
        self.book.note_look(self.nodes.used_by_others(), None)

    def _note(self, error: Exception) -> None:
        """Once a trouble: the doctor tells it for as long as it lasts."""
        shown = f"{type(error).__name__}: {error}"
        if not self.stopping.is_set() and shown != self._problem:
            self._problem = shown
            log.warning("nodes.unseen", reason=shown[:500])
