"""How many requests wait for a thread at once, and for how long: beyond that each is told to come back.

Threads answer in turn. Where the database is slow or away, a line of thousands would keep each of them until nobody
listens any more, with all that it has sent in memory.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.responses import Response

from pgfleet.producers.http.problem import problem

T = TypeVar("T")
MOST_WAITING = 1_000
LONGEST_S = 10.0
AGAIN_S = 1


@dataclass
class Crowd:
    """Threads that answer: as many as there are, and a bounded line before them."""

    threads: int
    most_waiting: int = MOST_WAITING
    longest_s: float = LONGEST_S
    clock: Callable[[], float] = time.monotonic
    _limiter: CapacityLimiter = field(init=False, repr=False)
    # The limiter counts those who wait only once it has let the loop go round.
    _here: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._limiter = CapacityLimiter(self.threads)

    async def in_thread(self, call: Callable[[], T]) -> T | Response:
        """What the call returns; or a problem at once where too many wait, and where it has waited for too long."""
        if self._here >= self.threads + self.most_waiting:
            return _too_full()
        came_at = self.clock()

        def in_time() -> T | Response:
            return _too_full() if self.clock() - came_at > self.longest_s else call()

        self._here += 1
        try:
            return await to_thread.run_sync(in_time, limiter=self._limiter)
        finally:
            self._here -= 1


def _too_full() -> Response:
    detail = "more requests wait than can be answered soon; nothing was taken"
    return problem(503, "too-full", detail, headers={"Retry-After": str(AGAIN_S)})
