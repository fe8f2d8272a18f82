"""The newest events of the feed, which a process reads once, however many subscriptions want them."""

import threading
from bisect import bisect_right
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.event import Event
from pgfleet.schema.feed.reading import Page
from pgfleet.schema.settings import Settings

# At 4 KiB each; who is further behind reads the database.
MOST = 20_000
# Of those who are, so many have the batch that was read for them kept until it is delivered, if that is here.
MOST_KEPT = 50


class Window:
    """All events between two positions, in their order; empty where nobody follows. Safe to use from every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._after: Cursor | None = None
        self._upto: Cursor | None = None
        self._kept: dict[Hashable, tuple[Cursor, Page]] = {}

    def keep(self, reader: Hashable, after: Cursor, page: Page) -> None:
        """What was read for somebody after a position, as it is asked for again soon."""
        with self._lock:
            self._kept.pop(reader, None)
            self._kept[reader] = after, page
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]

    def kept(self, reader: Hashable, after: Cursor, upto: Cursor) -> Page | None:
        """What was kept for somebody between these two positions, once."""
        with self._lock:
            begin, page = self._kept.pop(reader, (None, None))
        return page if page is not None and (begin, page.cursor) == (after, upto) else None

    def clear(self) -> None:
        """Of another session, or another server, what is there may be another."""
        with self._lock:
            self._events, self._after, self._upto = [], None, None
            self._kept.clear()

    def add(self, after: Cursor, page: Page) -> None:
        """All that comes next after a position; what does not follow on what is there begins anew."""
        with self._lock:
            if self._upto != after:
                self._events, self._after = [], after
            self._events = [*self._events, *page.events]
            self._upto = page.cursor
            if len(self._events) > MOST:
                self._after = self._events[-MOST - 1].position
                self._events = self._events[-MOST:]

    def page(self, after: Cursor, most: int, upto: Cursor | None) -> Page | None:
        """The next events after a position, none after `upto`; None where not all of them are here."""
        with self._lock:
            events, begin, end = self._events, self._after, self._upto
        if begin is None or end is None or not begin <= after <= end or (upto is not None and upto > end):
            return None
        place = bisect_right(events, after, key=_position)
        last = len(events) if upto is None else bisect_right(events, upto, key=_position)
        found = events[place : min(place + most, last)]
        return Page(found, found[-1].position if found else after)


def _position(event: Event) -> Cursor:
    return event.position


# Of each database that this process follows.
_open: dict[str, Window] = {}


@contextmanager
def window_on(settings: Settings) -> Iterator[Window]:
    """A window that is there while somebody fills it."""
    window = _open[settings.dsn()] = Window()
    try:
        yield window
    finally:
        del _open[settings.dsn()]


def window_of(settings: Settings) -> Window:
    """That of the database of these settings; an empty one where nobody follows."""
    return _open.get(settings.dsn()) or Window()
