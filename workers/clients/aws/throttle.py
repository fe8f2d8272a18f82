"""How long AWS is left alone when it says that we ask too often: seconds at first, then ever longer."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from pgfleet.workers.runtime.outcomes import Calls

FIRST_S = 5.0
LONGEST_S = 60.0


class Throttle:
    """Of one service, for the threads of a process; each group of calls has pauses of its own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._throttled: Counter[Calls] = Counter()
        self._until: dict[Calls, float] = {}

    def pause_s(self, calls: Calls) -> float:
        """Of a call that was throttled; those that are answered so within a pause have that pause."""
        with self._lock:
            now = self._clock()
            left_s = self._until.get(calls, now) - now
            if left_s > 0:
                return left_s
            pause_s = min(FIRST_S * 2.0 ** min(self._throttled[calls], 10), LONGEST_S)
            self._throttled[calls] += 1
            self._until[calls] = now + pause_s
            return pause_s

    def answered(self, calls: Calls) -> None:
        """Such a call was done: the next pause is short again."""
        if self._throttled[calls]:
            with self._lock:
                self._throttled[calls] = 0
                self._until.pop(calls, None)
