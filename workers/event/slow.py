"""Subscribers that are slow: however many there are, they hold no more than half of the threads of a process."""

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from pgfleet.workers.runtime.outcomes import TryAgainError

SLOW_S = 1.0


class Slow:
    """Who has been slow the last time, or fails, is waited for only while `most` others of them are not."""

    def __init__(self, most: int) -> None:
        self._most = max(most, 1)
        self._lock = threading.Lock()
        self._known: set[Hashable] = set()
        self._waited_for = 0

    @contextmanager
    def waiting(self, subscriber: Hashable, *, is_failing: bool) -> Iterator[None]:
        """While this thread waits for an answer.

        Raises:
            TryAgainError: the subscriber may be slow, and there is no place for it.
        """
        begun_at = time.monotonic()
        counts = self._take(subscriber, is_failing=is_failing)
        try:
            yield
        finally:
            with self._lock:
                self._waited_for -= counts
                if time.monotonic() - begun_at >= SLOW_S:
                    self._known.add(subscriber)
                else:
                    self._known.discard(subscriber)

    def _take(self, subscriber: Hashable, *, is_failing: bool) -> bool:
        with self._lock:
            counts = is_failing or subscriber in self._known
            if counts and self._waited_for >= self._most:
                raise TryAgainError("other subscribers that are slow are waited for", after_s=1)
            self._waited_for += counts
            return counts
