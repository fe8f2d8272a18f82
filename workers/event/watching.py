"""The watch of an event worker: one thread a process follows the feed, and wakes who wants what it sees.

What was committed while nobody followed, and what one that ended has not woken anybody for, is found by the look
around, for which each asks that begins to follow.
"""

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import structlog

from pgfleet.schema.database.dsn import Unreachable, redact
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor, CursorTooOld
from pgfleet.schema.feed.event import Event
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import named
from pgfleet.workers.event.metrics import UNDELIVERED
from pgfleet.workers.event.window import Window, window_on
from pgfleet.workers.runtime.running import Running

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SQL = named(__package__)
# Moves ring no bell: the feed is looked at so often.
LOOK_S = 0.2
MEASURE_S = 15.0
ANSWER_S, STOP_S = 10.0, 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


@contextmanager
def watching(running: Running) -> Iterator[None]:
    """Follow the feed for as long as the process works."""
    with window_on(running.settings) as window:
        thread = Follower(running.settings.direct_dsn(), window)
        thread.start()
        try:
            yield
        finally:
            thread.stopping.set()
            thread.join(STOP_S)


class Follower(threading.Thread):
    """Follows with a session of its own, from the position of its start; after it was lost, from where it was.

    What it reads is in the window before anybody is woken for it.
    """

    def __init__(self, dsn: str, window: Window) -> None:
        super().__init__(name="feed", daemon=True)
        self.stopping = threading.Event()
        self._dsn = dsn
        self._window = window
        self._at: Cursor | None = None

    def run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self.stopping.is_set():
            try:
                with open_session(self._dsn, autocommit=True, longest_s=ANSWER_S, writes=True) as conn:
                    reading.note_timeline(conn)
                    self._window.clear()
                    self._at = self._at or reading.end(conn)
                    conn.execute(SQL["look_around"])
                    pause_s = FIRST_PAUSE_S
                    self._follow(conn, self._at)
            except CursorTooOld as error:
                self._at = error.begin
            except (psycopg.Error, Unreachable) as error:
                log.warning("feed.lost", reason=redact(str(error)).strip(), again_in_s=pause_s)
                self.stopping.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _follow(self, conn: Connection, at: Cursor) -> None:
        measured_at = -math.inf
        while not self.stopping.is_set():
            page = reading.read(conn, at)
            self._window.add(at, page)
            if page.events:
                _wake(conn, page.events)
                conn.execute(SQL["ring"])
            if time.monotonic() - measured_at >= MEASURE_S:
                measured_at = time.monotonic()
                UNDELIVERED.set(conn.execute(SQL["undelivered"]).fetchall()[0][0])
            if len(page.events) < reading.PAGE:
                self.stopping.wait(LOOK_S)
            self._at = at = page.cursor


def _wake(conn: Connection, events: Sequence[Event]) -> None:
    """A look for each subscription that is idle and wants one of these; woken twice, it looks twice."""
    given = {
        "machines": [event.machine for event in events],
        "states": [event.to_status for event in events],
        "row_ids": [event.row_id for event in events],
        "owners": [event.owner for event in events],
    }
    conn.execute(SQL["wake"], given)
