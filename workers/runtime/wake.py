"""How a worker learns of messages: LISTEN says that some have arrived, and polls find what it missed."""

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

    Whatever arrives ends the wait, and so does the next message that is due.
    """

    def __init__(self, arrived: threading.Event, longest_s: float) -> None:
        self.arrived = arrived
        self.longest_s = longest_s
        self._next_s = FIRST_PAUSE_S

    def active(self) -> None:
        self._next_s = FIRST_PAUSE_S

    def clear(self) -> None:
        """Called before a claim, so that what arrives during it ends the next wait."""
        self.arrived.clear()

    def wait(self, due_s: float | None) -> None:
        pause_s = min(self._next_s, self.longest_s)
        self._next_s = min(self._next_s * 4, self.longest_s)
        if due_s is not None:
            pause_s = min(pause_s, max(due_s, 0.001))
        self.arrived.wait(pause_s)


class Listener(threading.Thread):
    """Sets an event for each of some queues when messages arrive; its connection is its own, and a direct one."""

    def __init__(self, dsn: str, arrived: dict[str, threading.Event]) -> None:
        super().__init__(name="listener", daemon=True)
        self.dsn = dsn
        self.arrived = arrived
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None, **ALIVE) as conn:
                    if is_pooler(conn):
                        # Its notifications go to whoever has the connection next.
                        log.warning("listener.pooler", advice="set DATABASE_DIRECT_URL; until then this worker polls")
                        return
                    self._listen(conn, list(self.arrived))
            except psycopg.OperationalError as error:
                log.warning("listener.unreachable", error=str(error).strip())
                self.stopping.wait(RECONNECT_S)

    def _listen(self, conn: psycopg.Connection[tuple[Any, ...]], queues: Sequence[str]) -> None:
        for queue in queues:
            conn.execute(SQL("listen {}").format(Identifier(queue)))
        # Something may have been sent while nobody listened.
        for event in self.arrived.values():
            event.set()
        while not self.stopping.is_set():
            for notice in conn.notifies(timeout=1):
                if notice.channel in self.arrived:
                    self.arrived[notice.channel].set()
                if self.stopping.is_set():
                    return

    def stop(self) -> None:
        self.stopping.set()
