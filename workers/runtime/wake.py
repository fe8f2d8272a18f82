"""How a worker learns of messages: the bell that LISTEN rings, and the polls that find what it missed."""

import threading
from collections.abc import Sequence
from typing import Any

import psycopg
import structlog
from psycopg.sql import SQL, Identifier

from pgfleet.schema.database.dsn import ALIVE, is_pooler

log: structlog.stdlib.BoundLogger = structlog.get_logger()

RECONNECT_S = 0.5
FIRST_PAUSE_S = 0.01


class Pause:
    """How long to wait for the next claim: short after activity, then ever longer, up to the safety poll.

    A bell that rings ends the wait, and so does the next message that is due.
    """

    def __init__(self, bell: threading.Event, longest_s: float) -> None:
        self.bell = bell
        self.longest_s = longest_s
        self._next_s = FIRST_PAUSE_S

    def active(self) -> None:
        self._next_s = FIRST_PAUSE_S

    def clear(self) -> None:
        """Before a claim: what rings from now on is news."""
        self.bell.clear()

    def wait(self, due_s: float | None) -> None:
        pause_s = min(self._next_s, self.longest_s)
        self._next_s = min(self._next_s * 4, self.longest_s)
        if due_s is not None:
            pause_s = min(pause_s, max(due_s, 0.001))
        self.bell.wait(pause_s)


class Listener(threading.Thread):
    """Rings the bells of some queues; its connection is its own and must be a direct one."""

    def __init__(self, dsn: str, bells: dict[str, threading.Event]) -> None:
        super().__init__(name="listener", daemon=True)
        self.dsn = dsn
        self.bells = bells
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None, **ALIVE) as conn:
                    if is_pooler(conn):
                        # Whoever gets its connection next would be told, not we.
                        log.warning("listener.pooler", advice="set DATABASE_DIRECT_URL; until then this worker polls")
                        return
                    self._listen(conn, list(self.bells))
            except psycopg.OperationalError as error:
                log.warning("listener.unreachable", error=str(error).strip())
                self.stopping.wait(RECONNECT_S)

    def _listen(self, conn: psycopg.Connection[tuple[Any, ...]], queues: Sequence[str]) -> None:
        for queue in queues:
            conn.execute(SQL("listen {}").format(Identifier(queue)))
        self._ring_all()
        while not self.stopping.is_set():
            for notice in conn.notifies(timeout=1):
                if bell := self.bells.get(notice.channel):
                    bell.set()
                if self.stopping.is_set():
                    return

    def _ring_all(self) -> None:
        """Something may have been sent while nobody listened."""
        for bell in self.bells.values():
            bell.set()

    def stop(self) -> None:
        self.stopping.set()
