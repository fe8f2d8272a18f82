"""A stream of events for one principal: what came since its last position, page by page, and then what comes."""

import asyncio
import random
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

import psycopg

from pgfleet.producers.http.events.frames import beat, ending, frame_of, retry
from pgfleet.producers.http.events.hub import Hub
from pgfleet.producers.http.events.limits import Pace
from pgfleet.producers.http.events.subscription import Closed, Subscription
from pgfleet.schema.feed.cursor import Cursor, CursorTooOld
from pgfleet.schema.feed.filters import Filters
from pgfleet.schema.feed.reading import Page
from pgfleet.schema.identity.principal import Principal

MEDIA_TYPE = "text/event-stream"


_SLOW = "events came faster than they were taken; come back with the last id"
_WHY = {
    Closed.SLOW: _SLOW,
    Closed.TOO_OLD: "events were pruned meanwhile",
    Closed.STOPPING: "this process ends; come back with the last id",
}


async def stream(
    hub: Hub,
    principal: Principal,
    cursor: Cursor | None,
    filters: Filters,
    still_valid: Callable[[], bool],
) -> AsyncIterator[bytes]:
    """The body of an answer of `text/event-stream`, to be iterated to its end or closed.

    After `cursor` (`Last-Event-ID`), or, where it is None, from now on. `still_valid` asks the database whether this
    principal may still listen, in this role; it is called now and then in a thread of the hub's.

    Raises:
        TooManyStreams: the process has as many streams as it takes.
        CursorTooOld: moves after the position are not kept any more; says where to begin anew.
        psycopg.Error: the database can't be asked.
    """
    first = None if cursor is None else await hub.page(principal, filters, cursor, None)
    subscription = hub.subscribe(principal, filters)
    now, pace = time.monotonic(), hub.pace
    frames = _Stream(
        hub=hub,
        subscription=subscription,
        still_valid=still_valid,
        pace=pace,
        position=cursor,
        ends_at=now + pace.life_s * random.uniform(0.9, 1.0),  # noqa: S311 - no secret
        valid_at=now,
        check_at=now + pace.check_s * random.uniform(0.5, 1.0),  # noqa: S311
        beat_at=now + pace.beat_s,
    ).frames(first)
    # An answer that nobody begins to read never comes to its end.
    weakref.finalize(frames, hub.leave_soon, subscription)
    return frames


@dataclass(slots=True)
class _Stream:
    hub: Hub
    subscription: Subscription
    still_valid: Callable[[], bool]
    pace: Pace
    position: Cursor | None
    ends_at: float
    valid_at: float
    check_at: float
    beat_at: float

    async def frames(self, first: Page | None) -> AsyncGenerator[bytes]:
        try:
            yield retry(self.pace.retry_ms)
            async for frame in self._missed(first):
                yield frame
            if self.position is None:
                # Whoever is cut off before the first event comes back to here.
                self.position = await self._start()
                yield beat(self.position)
            async for frame in self._live():
                yield frame
        except CursorTooOld as error:
            yield ending(Closed.TOO_OLD, str(error))
        except psycopg.Error:
            yield ending("unavailable", "the database can't be asked; come back with the last id")
        finally:
            self.hub.leave(self.subscription)

    async def _missed(self, page: Page | None) -> AsyncGenerator[bytes]:
        """What is there already: from the database, up to where the hub begins for this stream."""
        start: Cursor | None = None
        while page is not None:
            for frame in self._shown(page):
                yield frame
            if await self._ended() is not None:
                return
            if self._beats():
                yield beat(self.position)
            before = page.cursor
            page = await self.hub.page(self.subscription.principal, self.subscription.filters, before, start)
            if page.cursor == before:
                if start is not None:
                    self.position = max(before, start)
                    return
                # Not before, as all that comes from now on is kept for this stream.
                start = await self._start()

    def _shown(self, page: Page) -> list[bytes]:
        """The position is noted first: whatever is thrown away with the stream was not sent, and has sent no id."""
        self.position = page.cursor
        return [frame_of(event) for event in page.events if self.subscription.takes(event)]

    async def _start(self) -> Cursor | None:
        """Where the hub begins for this stream; None where the stream ends before it knows."""
        self.hub.follow(self.subscription)
        while self.subscription.start is None:
            if await self._ended() is not None:
                return None
            await self.subscription.changed(self._quiet_s())
        return self.subscription.start

    async def _live(self) -> AsyncGenerator[bytes]:
        while (why := await self._ended()) is None:
            for published in self.subscription.take():
                if self.position is None or published.event.position > self.position:
                    self.position = published.event.position
                    self.beat_at = time.monotonic() + self.pace.beat_s
                    yield published.frame
            if not self.subscription.waiting and self._beats():
                yield self._beat()
            await self.subscription.changed(self._quiet_s())
        yield why

    def _beat(self) -> bytes:
        """Nothing waits, so all that was asked for is sent, up to the hub's position."""
        seen = self.subscription.seen
        if seen is not None and (self.position is None or seen > self.position):
            self.position = seen
        return beat(self.position)

    def _beats(self) -> bool:
        now = time.monotonic()
        if now < self.beat_at:
            return False
        self.beat_at = now + self.pace.beat_s
        return True

    def _quiet_s(self) -> float:
        return max(0.0, min(self.beat_at, self.check_at, self.ends_at) - time.monotonic())

    async def _ended(self) -> bytes | None:
        """The last event, where the stream is over."""
        now = time.monotonic()
        if self.subscription.closed is not None:
            return ending(self.subscription.closed, _WHY[self.subscription.closed])
        if now >= self.ends_at:
            return ending("life", "a stream lasts so long; come back with the last id")
        if now >= self.check_at and not await self._is_valid():
            return ending("refused", "who listens may not do so any more")
        return None

    async def _is_valid(self) -> bool:
        """While it can't be found out, for a while, what was known last."""
        try:
            async with asyncio.timeout(self.pace.unchecked_s):
                valid = await self.hub.in_thread(self.still_valid)
        except (psycopg.Error, TimeoutError):
            self.check_at = time.monotonic() + 1
            return time.monotonic() - self.valid_at < self.pace.unchecked_s
        if valid:
            self.valid_at = time.monotonic()
            self.check_at = self.valid_at + self.pace.check_s
        return valid
