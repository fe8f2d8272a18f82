"""How many requests wait for a thread at once, and for how long: beyond that each is told to come back.

Threads answer in turn. Where the database is slow or away, a line of thousands would keep each of them until nobody
listens any more, with all that it has sent in memory.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from starlette.responses import Response

from pgfleet.producers.http.problem import problem

T = TypeVar("T")
MOST_WAITING = 1_000
LONGEST_S = 10.0
AGAIN_S = 1


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call for a thread, in the context of who asks, whose future it makes done."""

    call: Callable[[], Any]
    context: Context
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


@dataclass
class Crowd:
    """Threads that answer: as many as there are, and a bounded line before them.

    They are our own, as a request is handed over for a fifth of what a general pool of threads takes.
    """

    threads: int
    most_waiting: int = MOST_WAITING
    longest_s: float = LONGEST_S
    clock: Callable[[], float] = time.monotonic
    _line: SimpleQueue[_Asked | None] = field(default_factory=SimpleQueue, init=False, repr=False)
    _started: bool = field(default=False, init=False)
    # Those that have a thread, and those that wait.
    _here: int = field(default=0, init=False)

    async def in_thread(self, call: Callable[[], T]) -> T | Response:
        """What the call returns; or a problem at once where too many wait, and where it has waited for too long."""
        if self._here >= self.threads + self.most_waiting:
            return _too_full()
        came_at = self.clock()

        def in_time() -> T | Response:
            return _too_full() if self.clock() - came_at > self.longest_s else call()

        self._here += 1
        try:
            return await self._handed_over(in_time)
        finally:
            self._here -= 1

    def close(self) -> None:
        """Each thread ends with what it has in hand."""
        if self._started:
            for _ in range(self.threads):
                self._line.put(None)

    async def _handed_over(self, call: Callable[[], T]) -> T:
        if not self._started:
            self._started = True
            for number in range(self.threads):
                Thread(target=self._answer, name=f"answers-{number}", daemon=True).start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._line.put(_Asked(call, copy_context(), future, loop))
        return await future

    def _answer(self) -> None:
        while (asked := self._line.get()) is not None:
            found: Any = None
            trouble: BaseException | None = None
            try:
                found = asked.context.run(asked.call)
            except BaseException as error:  # noqa: BLE001  # raised where it is waited for
                trouble = error
            # The loop may have ended meanwhile.
            with suppress(RuntimeError):
                asked.loop.call_soon_threadsafe(_settle, asked.future, found, trouble)


def _settle(future: asyncio.Future[Any], found: Any, trouble: BaseException | None) -> None:
    if future.cancelled():
        return
    if trouble is None:
        future.set_result(found)
    else:
        future.set_exception(trouble)


def _too_full() -> Response:
    detail = "more requests wait than can be answered soon; nothing was taken"
    return problem(503, "too-full", detail, headers={"Retry-After": str(AGAIN_S)})
