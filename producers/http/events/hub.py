"""The hub: one thread a process follows the feed while somebody looks, and hands each event to who asked for it.

    feed --> follower's thread --(one call a batch)--> loop --> queues of the subscribers --> streams
                                                           `--> requests that wait for a row

A subscriber gets what was committed after the hub's position when it came; what was before, it reads in pages up to
there. So nothing is missed and nothing comes twice, whoever is faster.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pgfleet.producers.http.events.follower import Follower
from pgfleet.producers.http.events.frames import frame_of
from pgfleet.producers.http.events.limits import BOUNDS, PACE, Bounds, Pace
from pgfleet.producers.http.events.readers import Subscribers, Waiters
from pgfleet.producers.http.events.subscription import Closed, Published, Subscription
from pgfleet.schema.database.pool import Pool
from pgfleet.schema.errors import FleetError
from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.event import Event
from pgfleet.schema.feed.filters import Filters, narrowed
from pgfleet.schema.feed.reading import Page
from pgfleet.schema.identity.principal import Principal

T = TypeVar("T")
# What was moved; None where that is not known, as the position is another one, or the server does not answer.
Watcher = Callable[[Sequence[Event] | None], object]


class TooManyStreams(FleetError):
    """As many subscribers as one process takes are there already: to be tried again, perhaps at another process."""


class Hub:
    """Made and stopped on the loop on which its streams run. It shows every event to who may see it, so its login does.

    Args:
        dsn: of the server itself, for the follower's own session; behind a pooler it polls and hears nothing.
        pool: sessions for pages; as many are used at once as there are `bounds.threads`.
    """

    def __init__(self, dsn: str, pool: Pool, bounds: Bounds = BOUNDS, pace: Pace = PACE) -> None:
        self.bounds = bounds
        self.pace = pace
        self.position: Cursor | None = None
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        # Taken by the follower while it publishes, and by the loop while somebody comes: for microseconds.
        self._lock = threading.Lock()
        self._begun = asyncio.Event()
        self._subscribers = Subscribers()
        self._waiters = Waiters()
        self._watchers: set[Watcher] = set()
        self._is_ending = False
        self._limits: set[asyncio.Timeout] = set()
        self._threads = ThreadPoolExecutor(bounds.threads, thread_name_prefix="feed-page")
        self._follower = Follower(dsn, bounds.page, self)

    def __len__(self) -> int:
        return len(self._subscribers)

    @property
    def looked_at(self) -> bool:
        """Whether anybody wants events."""
        return len(self._subscribers) + len(self._waiters) + len(self._watchers) > 0

    def subscribe(self, principal: Principal, filters: Filters) -> Subscription:
        """A place on the loop, to be given back with `leave`. Events come from `follow` on.

        Raises:
            TooManyStreams: there are as many as there may be, or the process ends.
        """
        if self._is_ending:
            raise TooManyStreams("this process ends, and takes no more streams")
        if len(self._subscribers) >= self.bounds.streams:
            raise TooManyStreams(f"{self.bounds.streams} streams are open, and no more are taken")
        subscription = Subscription(principal, filters, self.bounds.queued)
        with self._lock:
            self._subscribers.add(subscription)
        self._follower.wake()
        return subscription

    def follow(self, subscription: Subscription) -> None:
        """From now on events are put before it; once it knows its `start`, those after that."""
        with self._lock:
            if self.position is not None:
                subscription.began(self.position)
            self._subscribers.follow(subscription)

    def leave(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscribers.discard(subscription)

    def leave_soon(self, subscription: Subscription) -> None:
        """From anywhere, at any time."""
        self._on_loop(lambda: self.leave(subscription))

    def watch(self, watcher: Watcher) -> None:
        """It is called on the loop with all that moves, whoever may see it, from when it is first called on."""
        self._watchers.add(watcher)
        self._follower.wake()

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    async def page(self, principal: Principal, filters: Filters, after: Cursor, upto: Cursor | None) -> Page:
        """What is in the database after a position, of what this principal may see.

        Raises:
            CursorTooOld: see `reading.read`.
            psycopg.Error: the database can't be asked.
        """
        seen = narrowed(filters, principal.role, principal.username)

        def read() -> Page:
            with self._pool.connection() as conn:
                return reading.read(conn, after, seen, self.bounds.page, upto)

        return await self.in_thread(read)

    async def wait_for(self, machine: str, row_id: str, after: int | None, timeout_s: float) -> bool:
        """Whether a row has moved past its move of the number `after`, as soon as it has; at once where it had before.

        None: past its last move of now. Holds no thread, and says nothing about who may see the row. Where the process
        ends, the time is over.

        Raises:
            TooManyStreams: as many requests wait as may.
            psycopg.Error: the database can't be asked.
        """
        if self._is_ending:
            return False
        if len(self._waiters) >= self.bounds.waiters:
            raise TooManyStreams(f"{self.bounds.waiters} requests wait, and no more are taken")
        waiter = self._waiters.add(machine, row_id, after)
        self._follower.wake()
        try:
            async with asyncio.timeout(timeout_s) as limit:
                self._limits.add(limit)
                await self._has_begun()
                last = await self.in_thread(lambda: self._last_move(machine, row_id))
                if after is None:
                    waiter.wait_past(last)
                else:
                    waiter.see(last)
                await waiter.moved.wait()
        except TimeoutError:
            return False
        finally:
            self._limits.discard(limit)
            self._waiters.discard(waiter)
        return True

    async def _has_begun(self) -> None:
        """Before the hub knows where it is, it would miss what is moved meanwhile."""
        while self.position is None:
            self._begun.clear()
            if self.position is None:
                await self._begun.wait()

    def _last_move(self, machine: str, row_id: str) -> int:
        with self._pool.connection() as conn:
            return reading.last_move(conn, machine, row_id)

    async def in_thread(self, call: Callable[[], T]) -> T:
        """One of the hub's few threads, so that those of the requests are not used up by streams."""
        return await self._loop.run_in_executor(self._threads, call)

    def end(self) -> None:
        """Every stream ends, to be taken up again elsewhere, and nobody waits any more. On the loop."""
        self._is_ending = True
        self._close_each(Closed.STOPPING)
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(self._loop.time())

    async def stop(self) -> None:
        """What it has opened is closed."""
        self._follower.stop()
        self.end()
        await self.in_thread(self._follower.join)
        self._threads.shutdown(wait=False, cancel_futures=True)

    # What the follower calls, in its own thread.

    def begin_at(self, position: Cursor) -> None:
        with self._lock:
            self.position = position
            new = list(self._subscribers.following())
        self._on_loop(lambda: self._begin_each(new, position))

    def _begin_each(self, new: list[Subscription], position: Cursor) -> None:
        self._begun.set()
        for subscription in new:
            if subscription.start is None:
                subscription.began(position)
        self._tell_watchers(None)

    def _tell_watchers(self, events: Sequence[Event] | None) -> None:
        for watcher in list(self._watchers):
            watcher(events)

    def publish(self, events: list[Event], position: Cursor) -> None:
        with self._lock:
            self.position = position
            put: dict[Subscription, list[Published]] = {}
            for event in events:
                takers = list(self._subscribers.of(event))
                published = Published(event, frame_of(event)) if takers else None
                for taker in takers:
                    if published is not None:
                        put.setdefault(taker, []).append(published)
        self._on_loop(lambda: self._hand_out(events, put, position))

    def _hand_out(self, events: list[Event], put: dict[Subscription, list[Published]], position: Cursor) -> None:
        for subscription, published in put.items():
            subscription.put(published)
            if subscription.closed is not None:
                self.leave(subscription)
        for subscription in self._subscribers:
            if subscription.seen is not None and subscription.seen < position:
                subscription.seen = position
        self._waiters.moved(events)
        self._tell_watchers(events)

    def forget(self) -> None:
        """Nobody looks: the next one begins at the position of then."""
        with self._lock:
            if not self.looked_at:
                self.position = None

    def lost(self) -> None:
        """The server does not answer: who watches looks for themselves."""
        self._on_loop(lambda: self._tell_watchers(None))

    def close_all(self, why: Closed) -> None:
        with self._lock:
            self.position = None
        self._on_loop(lambda: self._close_each(why))

    def _close_each(self, why: Closed) -> None:
        for subscription in list(self._subscribers):
            subscription.close(why)
            self.leave(subscription)

    def _on_loop(self, call: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)
