"""Sessions for the threads of a process. Whoever finds none opens one: a server that is back is used at once."""

import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus

from pgfleet.schema.database.dsn import redact

Connection = psycopg.Connection[tuple[Any, ...]]

# A session is used for an hour, and one that is left over after a rush is kept for ten minutes.
USED_S, KEPT_S = 3600.0, 600.0


@dataclass(slots=True)
class _Kept:
    conn: Connection
    opened_at: float
    used_at: float


class Pool:
    """At most so many sessions at once; the one that was used last is used next.

    One that is lost takes along all that were opened before: a server that has hung, moved or turned read-only has
    done so on all of them.

    Attributes:
        losses: how many were lost so far.
        trouble: why the last use, or the opening of a session, failed; None while all is well.
        in_use: how many are used now.
    """

    def __init__(self, open_one: Callable[[], Connection], most: int) -> None:
        self.losses = 0
        self.trouble: str | None = None
        self.in_use = 0
        self._open_one = open_one
        self._places = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []
        self._lost_at = 0.0
        self._closed = False

    @contextmanager
    def connection(self, timeout: float = 5) -> Iterator[Connection]:
        """A session of autocommit for a while. One that comes back within a transaction is not used again.

        Raises:
            psycopg.OperationalError: all are in use, for `timeout` seconds; or a new one can't be opened.
        """
        if not self._places.acquire(timeout=timeout):
            raise psycopg.OperationalError(f"all sessions were in use for {timeout:.0f} s")
        self._count(1)
        try:
            kept = self._take()
            try:
                yield kept.conn
            except psycopg.Error as error:
                if kept.conn.closed or isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
                    self._lose(redact(str(error)).strip())
                raise
            finally:
                self._put_back(kept)
        finally:
            self._count(-1)
            self._places.release()

    def lacking(self) -> list[str]:
        """Why nothing can be done in the database, in words."""
        trouble = self.trouble
        return [] if trouble is None else [f"the database: {trouble}"]

    def close(self) -> None:
        """Those in use are closed when they come back."""
        self._closed = True
        self._close_kept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _count(self, more: int) -> None:
        with self._lock:
            self.in_use += more

    def _take(self) -> _Kept:
        while (kept := self._pop()) is not None:
            if self._is_usable(kept):
                return kept
            kept.conn.close()
        if self._closed:
            raise psycopg.OperationalError("the program is ending")
        try:
            conn = self._open_one()
        except psycopg.Error as error:
            self.trouble = redact(str(error)).strip()
            raise
        now = time.monotonic()
        return _Kept(conn, now, now)

    def _pop(self) -> _Kept | None:
        with self._lock:
            return self._kept.pop() if self._kept else None

    def _is_usable(self, kept: _Kept) -> bool:
        """No round trip: a server that ends a session says so unasked, and nothing else does."""
        age_s = time.monotonic() - kept.opened_at
        return age_s < USED_S and kept.opened_at > self._lost_at and not _has_spoken(kept.conn)

    def _put_back(self, kept: _Kept) -> None:
        kept.used_at = time.monotonic()
        if kept.conn.pgconn.transaction_status != TransactionStatus.IDLE:
            kept.conn.close()
            return
        with self._lock:
            if kept.opened_at > self._lost_at:
                self.trouble = None
            self._kept.append(kept)
            one_too_many = self._closed or kept.used_at - self._kept[0].used_at > KEPT_S
            oldest = self._kept.pop(0) if one_too_many else None
        if oldest is not None:
            oldest.conn.close()

    def _lose(self, reason: str) -> None:
        self.losses += 1
        self.trouble = reason
        self._lost_at = time.monotonic()
        self._close_kept()

    def _close_kept(self) -> None:
        with self._lock:
            kept, self._kept = self._kept, []
        for each in kept:
            each.conn.close()


def _has_spoken(conn: Connection) -> bool:
    look = select.poll()
    look.register(conn.fileno(), select.POLLIN)
    return bool(look.poll(0))
