"""Threads that may hang: one that does is left behind, and another takes its place."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from pgfleet.workers.runtime.outcomes import LeaseLostError

P = ParamSpec("P")
R = TypeVar("R")
Piece = tuple[Future[Any], Callable[[], Any]]


class LeftBehindError(LeaseLostError):
    """What was to be done hangs: nobody waits for it any more, and what it comes to changes nothing."""


def outcome_of(future: Future[R]) -> R | LeftBehindError:
    """What was done came to, as soon as it is there."""
    try:
        return future.result()
    except LeftBehindError as error:
        return error


class Threads:
    """So many threads that do what is submitted, in its order. The process ends without waiting for them."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self._todo: SimpleQueue[Piece | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._all: set[threading.Thread] = set()
        self._at_work: dict[threading.Thread, Future[Any]] = {}

    def submit(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future: Future[R] = Future()
        self._todo.put((future, partial(work, *args, **kwargs)))
        with self._lock:
            if len(self._all) < self.number:
                self._add()
        return future

    def leave_behind(self, thread: threading.Thread) -> bool:
        """Whoever waits for what this thread does gets a LeftBehindError; False if it is none of these, or at rest."""
        with self._lock:
            future = self._at_work.pop(thread, None)
            if future is None:
                return False
            self._all.discard(thread)
            self._add()
        future.set_exception(LeftBehindError(f"{thread.name} hangs"))
        return True

    def stop(self) -> None:
        """Let threads end when they have done what they do now."""
        with self._lock:
            self.number = 0
            for _ in self._all:
                self._todo.put(None)

    def _add(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self.name}-{len(self._all)}", daemon=True)
        self._all.add(thread)
        thread.start()

    def _run(self) -> None:
        while (piece := self._todo.get()) is not None:
            future, work = piece
            if future.set_running_or_notify_cancel() and not self._done(future, work):
                return

    def _done(self, future: Future[Any], work: Callable[[], Any]) -> bool:
        """Whether what was done was still waited for."""
        me = threading.current_thread()
        with self._lock:
            self._at_work[me] = future
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001  # it is for whoever waits
            error = raised
        with self._lock:
            if self._at_work.pop(me, None) is None:
                return False
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
        return True
