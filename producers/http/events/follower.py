"""The thread that follows the feed: one direct session, while somebody looks, and none while nobody does."""

import threading
import time
from typing import Any, Protocol

import psycopg
import structlog
from psycopg.sql import SQL, Identifier

from pgfleet.producers.http.events.subscription import Closed
from pgfleet.schema.database.dsn import Unreachable, redact
from pgfleet.schema.database.sessions import is_pooler, open_session
from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor, CursorTooOld
from pgfleet.schema.feed.event import Event
from pgfleet.schema.kinds import queues
from pgfleet.schema.queue.kernel import Connection

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# A move rings no bell of its own: a NOTIFY in each settler's commit would make all commits wait for one another. So the
# feed is looked at so often while somebody does, and more often for a moment after something was sent or moved.
LOOK_S, BUSY_LOOK_S, BUSY_S = 0.1, 0.025, 0.5
# Any login may notify, as often as it likes.
FLOOR_S = 0.02
# The session is kept for so long after the last one has gone.
LINGER_S = 10.0
ANSWER_S = 10.0
# Where a new timeline could not begin as rows were being moved, it is tried again, and until then nothing is told.
NOTE_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class Desk(Protocol):
    """What the follower reports to: the hub. `position` is where it goes on."""

    position: Cursor | None

    @property
    def looked_at(self) -> bool: ...
    def begin_at(self, position: Cursor) -> None: ...
    def publish(self, events: list[Event], position: Cursor) -> None: ...
    def forget(self) -> None: ...
    def lost(self) -> None: ...
    def close_all(self, why: Closed) -> None: ...


class Follower:
    """Its thread is started by the first who looks."""

    def __init__(self, dsn: str, page: int, desk: Desk) -> None:
        self._dsn = dsn
        self._page = page
        self._desk = desk
        self._stopping = threading.Event()
        self._looked_at = threading.Event()
        self._thread: threading.Thread | None = None
        self._busy_until = 0.0

    def wake(self) -> None:
        """Somebody looks."""
        self._looked_at.set()
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._looked_at.set()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join(ANSWER_S)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            self._looked_at.wait()
            try:
                with open_session(self._dsn, autocommit=True, longest_s=ANSWER_S, writes=True) as conn:
                    self._begin(conn)
                    pause_s = FIRST_PAUSE_S
                    self._follow(conn)
            except CursorTooOld:
                self._desk.close_all(Closed.TOO_OLD)
            except (psycopg.Error, Unreachable) as error:
                log.warning("feed.lost", reason=redact(str(error)).strip(), again_in_s=pause_s)
                self._desk.lost()
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _begin(self, conn: Connection) -> None:
        reading.note_timeline(conn)
        if not is_pooler(conn):
            for queue in queues():
                conn.execute(SQL("listen {}").format(Identifier(queue)))
        if self._desk.position is None:
            self._desk.begin_at(reading.end(conn))

    def _follow(self, conn: Connection) -> None:
        """Until nobody looks any more."""
        looked_at = noted_at = time.monotonic()
        while not self._stopping.is_set():
            began = time.monotonic()
            if began - noted_at > NOTE_S:
                reading.note_timeline(conn)
                noted_at = began
            if self._desk.looked_at:
                looked_at = began
            elif began - looked_at > LINGER_S:
                self._looked_at.clear()
                # Whoever comes between the two lines is seen here.
                if not self._desk.looked_at:
                    self._desk.forget()
                    return
                self._looked_at.set()
            if self._look(conn):
                continue
            self._rest(conn, began)

    def _look(self, conn: Connection) -> bool:
        """Whether there is more, likely."""
        after = self._desk.position
        if after is None:
            after = reading.end(conn)
            self._desk.begin_at(after)
        page = reading.read(conn, after, limit=self._page)
        if page.cursor == after:
            return False
        self._desk.publish(page.events, page.cursor)
        self._busy_until = time.monotonic() + BUSY_S
        return len(page.events) == self._page

    def _rest(self, conn: psycopg.Connection[tuple[Any, ...]], began: float) -> None:
        """Until it is time to look again, or something was sent."""
        now = time.monotonic()
        self._stopping.wait(max(0.0, began + FLOOR_S - now))
        pause_s = BUSY_LOOK_S if now < self._busy_until else LOOK_S
        for _ in conn.notifies(timeout=max(0.0, began + pause_s - time.monotonic()), stop_after=1):
            self._busy_until = time.monotonic() + BUSY_S
