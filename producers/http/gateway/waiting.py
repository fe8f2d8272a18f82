"""Heartbeats that wait for their batch or for its answer: bounded in number, bytes and time."""

import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pgfleet.schema.errors import FleetError


class Busy(FleetError):
    """So many heartbeats wait already that this one was not taken; or the program is ending."""


class Unanswered(FleetError):
    """The database did not answer in time. The heartbeat may have arrived: sent again with its id, it counts once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a batch gathers and how many it holds; how many may wait in all, and for how long."""

    window_s: float = 0.005
    batch: int = 500
    batch_bytes: int = 8 * 1024 * 1024
    waiting: int = 5000
    waiting_bytes: int = 64 * 1024 * 1024
    deadline_s: float = 5.0


@dataclass(eq=False, slots=True)
class Waiting:
    """One heartbeat, checked; its future ends once, with an answer or an error."""

    node: str
    text: bytes = field(repr=False)
    future: "Future[Any]"
    arrived_s: float = 0.0

    def answer(self, reply: Any) -> None:
        """Unless it was told already that it took too long."""
        with suppress(InvalidStateError):
            self.future.set_result(reply)

    def refuse(self, error: Exception) -> None:
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Line:
    """Heartbeats in the order of their arrival. One thread takes batches, another what has waited for too long."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        lock = threading.Lock()
        self._may_take = threading.Condition(lock)
        self._may_expire = threading.Condition(lock)
        self._waiting: deque[Waiting] = deque()
        # In hand of the thread that sends; those that have expired there still take their room.
        self._sending: list[Waiting] = []
        self._held = self._held_bytes = 0
        self._closed = False

    def __len__(self) -> int:
        """How many take room: those that wait, and those in a batch that has no answer yet."""
        return self._held

    def put(self, one: Waiting) -> None:
        """Let it wait.

        Raises:
            Busy: there is no room.
        """
        with self._may_take:
            if self._closed:
                raise Busy("the gateway is ending")
            if self._held >= self._limits.waiting or self._held_bytes + len(one.text) > self._limits.waiting_bytes:
                raise Busy(f"{self._held} heartbeats wait already")
            one.arrived_s = time.monotonic()
            self._held += 1
            self._held_bytes += len(one.text)
            self._waiting.append(one)
            # Whoever takes looks again when the window is over, or sooner where the batch is full.
            if len(self._waiting) in (1, self._limits.batch):
                self._may_take.notify()
                self._may_expire.notify()

    def take(self) -> list[Waiting] | None:
        """The next batch, once its first has waited for the window; None when the line is closed and nobody waits."""
        with self._may_take:
            while (left_s := self._left_s()) is None or left_s > 0:
                self._may_take.wait(left_s)
            self._sending = self._cut()
            return list(self._sending) or None

    def done(self, batch: Iterable[Waiting]) -> None:
        """Those of a batch have their answers: their room is free."""
        with self._may_take:
            self._sending = []
            self._free(batch)
            self._may_expire.notify()

    def overdue(self) -> list[Waiting] | None:
        """Those that have waited for longer than the deadline, as soon as there is one; None when nobody will wait."""
        with self._may_expire:
            while (left_s := self._until_overdue_s()) is None or left_s > 0:
                if left_s is None and self._closed:
                    return None
                self._may_expire.wait(left_s)
            before_s = time.monotonic() - self._limits.deadline_s
            found = [one for one in self._sending if one.arrived_s <= before_s]
            self._sending = self._sending[len(found) :]
            late = []
            while self._waiting and self._waiting[0].arrived_s <= before_s:
                late.append(self._waiting.popleft())
            self._free(late)
            return found + late

    def close(self) -> None:
        """Take no more; what waits is still sent."""
        with self._may_take:
            self._closed = True
            self._may_take.notify()
            self._may_expire.notify()

    def _left_s(self) -> float | None:
        """How long the next batch still gathers; None while nothing waits."""
        if self._closed or len(self._waiting) >= self._limits.batch:
            return 0
        return self._waiting[0].arrived_s + self._limits.window_s - time.monotonic() if self._waiting else None

    def _until_overdue_s(self) -> float | None:
        oldest = self._sending[0] if self._sending else self._waiting[0] if self._waiting else None
        return None if oldest is None else oldest.arrived_s + self._limits.deadline_s - time.monotonic()

    def _cut(self) -> list[Waiting]:
        batch: list[Waiting] = []
        size = 0
        while self._waiting and len(batch) < self._limits.batch:
            size += len(self._waiting[0].text)
            if batch and size > self._limits.batch_bytes:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _free(self, those: Iterable[Waiting]) -> None:
        for one in those:
            self._held -= 1
            self._held_bytes -= len(one.text)
