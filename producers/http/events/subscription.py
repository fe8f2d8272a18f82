"""A subscriber of the hub: a bounded queue of events that were committed after it had subscribed."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.event import Event
from pgfleet.schema.feed.filters import Filters, may_see
from pgfleet.schema.identity.principal import Principal


class Closed(StrEnum):
    """Why no more events come. Whoever comes back with the last position misses nothing, but for TOO_OLD."""

    SLOW = "slow"  # too many events waited to be taken
    TOO_OLD = "too_old"  # moves after the hub's position are not kept any more
    STOPPING = "stopping"  # the process ends


@dataclass(frozen=True, slots=True)
class Published:
    """An event, and the bytes that all its streams send."""

    event: Event
    frame: bytes


@dataclass(eq=False, slots=True)
class Subscription:
    """What one stream has before it. All of it is used on the loop of the streams only, but for `takes`.

    Attributes:
        most: how many events may wait.
        start: the position after which events come here; None until the hub knows one.
        seen: the hub's position; all that came before it and is asked for has been put here.
        closed: why no more come.
    """

    principal: Principal
    filters: Filters
    most: int
    start: Cursor | None = None
    seen: Cursor | None = None
    closed: Closed | None = None
    _waiting: deque[Published] = field(default_factory=deque)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def takes(self, event: Event) -> bool:
        return may_see(self.principal.role, self.principal.username, event) and self.filters.match(event)

    def began(self, start: Cursor) -> None:
        self.start = self.seen = start
        self._changed.set()

    def put(self, events: list[Published]) -> None:
        """More than may wait close it: none of them is kept for somebody who does not take them."""
        if self.closed is not None:
            return
        if len(self._waiting) + len(events) > self.most:
            self.close(Closed.SLOW)
            return
        self._waiting.extend(events)
        self._changed.set()

    def close(self, why: Closed) -> None:
        """What is asked for again by its position need not be kept here."""
        self.closed = self.closed or why
        self._waiting.clear()
        self._changed.set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self) -> list[Published]:
        """All that has come; nothing where nothing has."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._changed.clear()
        return taken

    async def changed(self, timeout_s: float) -> bool:
        """Wait until something has come, it has begun, or was closed; False where nothing was for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True
