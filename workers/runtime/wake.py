"""How a worker learns of messages: LISTEN says that some have arrived, and polls find what it missed."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import structlog
from psycopg.sql import SQL, Identifier

from pgfleet.schema.database.sessions import is_pooler, open_session
from pgfleet.workers.runtime.inside.trouble import Trouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()

DOING = "listen"
RECONNECT_S = 0.5
# A server that hangs, or has become read-only, does not say so: it is asked now and then, and has to answer soon.
ASK_S, ANSWER_S = 30.0, 10.0
FIRST_PAUSE_S = 0.01
# Any login may notify: a message among notifications of nothing is found so late at most.
FIRST_FLOOR_S, LONGEST_FLOOR_S = 0.01, 0.25


class Pause:
    """How long to wait for the next claim: short after activity, then ever longer, up to the safety poll.

    Whatever arrives ends the wait, and so does the next message that is due. Where nothing was found after something
    had arrived, the next claim is not at once, whatever arrives: that takes longer each time, until something is found
    or nothing arrives any more.
    """

    def __init__(self, arrived: threading.Event, longest_s: float) -> None:
        self.arrived = arrived
        self.longest_s = longest_s
        self.active()

    def active(self) -> None:
        self._next_s = FIRST_PAUSE_S
        self._floor_s = 0.0
        self._woken = False

    def clear(self) -> None:
        """Called before a claim, so that what arrives during it ends the next wait."""
        self.arrived.clear()

    def wait(self, due_s: float | None) -> None:
        pause_s = min(self._next_s, self.longest_s)
        self._next_s = min(self._next_s * 4, self.longest_s)
        if due_s is not None:
            pause_s = min(pause_s, max(due_s, 0.001))
        self._floor_s = min(max(2 * self._floor_s, FIRST_FLOOR_S), LONGEST_FLOOR_S) if self._woken else 0.0
        time.sleep(self._floor_s)
        self._woken = self.arrived.wait(max(pause_s - self._floor_s, 0))


class Listener(threading.Thread):
    """Sets an event for each of some queues when messages arrive; its connection is its own, and a direct one.

    `losses` counts what other threads of the process have lost: where their sessions were, this one may hear nothing.
    """

    def __init__(
        self, dsn: str, arrived: dict[str, threading.Event], losses: Callable[[], int], ask_s: float = ASK_S
    ) -> None:
        super().__init__(name="listener", daemon=True)
        self.dsn = dsn
        self.arrived = arrived
        self.losses = losses
        self.ask_s = ask_s
        self.stopping = threading.Event()
        self.trouble = Trouble(", ".join(arrived))

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with open_session(self.dsn, autocommit=True, longest_s=ANSWER_S, writes=True) as conn:
                    if is_pooler(conn):
                        # Its notifications go to whoever has the connection next.
                        log.warning("listener.pooler", advice="set DATABASE_DIRECT_URL; until then this worker polls")
                        return
                    self._listen(conn, list(self.arrived))
                pause_s = RECONNECT_S
            except Exception as error:  # noqa: BLE001  # whatever it is, without a listener messages wait for a poll
                pause_s = max(RECONNECT_S, self.trouble.met(DOING, error))
            self.stopping.wait(pause_s)

    def _listen(self, conn: psycopg.Connection[tuple[Any, ...]], queues: Sequence[str]) -> None:
        lost = self.losses()
        for queue in queues:
            conn.execute(SQL("listen {}").format(Identifier(queue)))
        self.trouble.over(DOING)
        # Something may have been sent while nobody listened.
        for event in self.arrived.values():
            event.set()
        asked_at = time.monotonic()
        while not self.stopping.is_set() and self.losses() == lost:
            for notice in conn.notifies(timeout=1):
                if notice.channel in self.arrived:
                    self.arrived[notice.channel].set()
                if self.stopping.is_set():
                    return
            if time.monotonic() - asked_at > self.ask_s:
                _ask(conn)
                asked_at = time.monotonic()

    def stop(self) -> None:
        self.stopping.set()


def _ask(conn: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Raise unless the server answers, and takes writes."""
    if conn.execute("show transaction_read_only").fetchone() != ("off",):
        raise psycopg.errors.ReadOnlySqlTransaction("the server has become read-only")
