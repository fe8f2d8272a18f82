"""Watches: the changes of one resource, remembered and new, as lines of JSON on an open connection.

What a watch is told depends on whether it selects the object before and after a change:

    before  after   event
    no      yes     ADDED
    yes     yes     MODIFIED
    yes     no      DELETED, with the object as it was and the version of the change
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from pgfleet.console.sandbox.kubernetes.history import is_selected
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, expired
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.history import History
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.selectors import Selector
    from pgfleet.console.sandbox.kubernetes.store import Change, Record, Store

LONGEST_BACKLOG = 20_000  # a watch that is further behind is told to list again
LINES_A_CHUNK = 500
LONGEST_WATCH_S = 1800.0
INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}
EMPTY = {"pods": {"spec": {"containers": None}, "status": {}}}  # what else a bookmark's object has


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request to watch; no version, or 0, means the objects there are and then what comes."""

    resource: str
    namespace: str
    selector: Selector
    version: str = ""
    bookmarks: bool = False
    initial_events: bool = False
    timeout_s: float = LONGEST_WATCH_S


@dataclass(slots=True, eq=False)
class Watcher:
    """`lines` wait to be sent; one that `is_over` ends when they are."""

    wanted: Wanted
    transport: asyncio.Transport | None
    lines: deque[bytes] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def take(self, change: Change) -> None:
        line = self._line(change)
        if line is None or self.is_over:
            return
        self.add(line)
        if len(self.lines) > LONGEST_BACKLOG:
            self.lines.clear()
            self.refuse(expired("too old resource version: the watch is too far behind"))

    def add(self, line: bytes) -> None:
        self.lines.append(line)
        self.news.set()

    def refuse(self, refused: RefusedError) -> None:
        self.add(orjson.dumps({"type": "ERROR", "object": refused.status}) + b"\n")
        self.is_over = True

    def bookmark(self, version: int, annotations: dict[str, str] | None = None) -> None:
        metadata: Object = {"resourceVersion": str(version), "creationTimestamp": None}
        metadata |= {"annotations": annotations} if annotations else {}
        resource = RESOURCES[self.wanted.resource]
        document = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        self.add(_line_of("BOOKMARK", orjson.dumps(document | EMPTY.get(resource.plural, {}))))

    def end(self) -> None:
        self.is_over = True
        self.news.set()

    def _line(self, change: Change) -> bytes | None:
        was = change.before is not None and self._selects(change.before)
        if change.kind == "DELETED":
            return _line_of("DELETED", change.record.raw) if was else None
        if self._selects(change.record):
            return _line_of("MODIFIED" if was else "ADDED", change.record.raw)
        return _line_of("DELETED", _departed(change)) if was else None

    def _selects(self, record: Record) -> bool:
        return is_selected(record, self.wanted.namespace, self.wanted.selector)


class Watchers:
    """All open watches. `bookmark_s` is how often those that want bookmarks get one."""

    def __init__(self, store: Store, history: History, bookmark_s: float) -> None:
        self._store = store
        self._history = history
        self._bookmark_s = bookmark_s
        self._open: dict[str, set[Watcher]] = {plural: set() for plural in RESOURCES}
        self._flowing = asyncio.Event()
        self._flowing.set()

    def watch(self, change: Change) -> None:
        for watcher in self._open[change.record.key[0]]:
            watcher.take(change)

    def count(self) -> dict[str, int]:
        """How many are open, by resource."""
        return {plural: len(watchers) for plural, watchers in self._open.items() if watchers}

    def cut(self) -> None:
        """End all as a server does whose time is up."""
        for watcher in self._all():
            watcher.end()

    def close(self) -> None:
        """The server ends."""
        self.resume()
        self.cut()

    def drop(self) -> None:
        """Close the connections in the middle of it, without a last chunk."""
        for watcher in self._all():
            watcher.end()
            if watcher.transport:
                watcher.transport.abort()

    def expire(self) -> None:
        """Tell all that their version is too old."""
        for watcher in self._all():
            watcher.refuse(expired(f"too old resource version: 1 ({self._store.version})"))

    def stall(self) -> None:
        """Nothing is sent any more, on connections that stay open."""
        self._flowing.clear()

    def resume(self) -> None:
        """Send what was held back, and go on."""
        self._flowing.set()

    def bookmark(self) -> None:
        """Send a bookmark now."""
        for watcher in self._all():
            if watcher.wanted.bookmarks:
                watcher.bookmark(self._store.version)

    async def stream(self, request: web.BaseRequest, wanted: Wanted) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        watcher = Watcher(wanted, request.transport)
        self._begin(watcher)
        self._open[wanted.resource].add(watcher)
        try:
            # Who watches may go at any time.
            with suppress(ConnectionResetError):
                await response.prepare(request)
                await self._send(response, watcher)
        finally:
            self._open[wanted.resource].discard(watcher)
        return response

    def _begin(self, watcher: Watcher) -> None:
        """A version that is too old is told as an event, on a watch that was accepted."""
        wanted = watcher.wanted
        if wanted.version in ("", "0") or wanted.initial_events:
            for record in self._store.select(wanted.resource, wanted.namespace, wanted.selector):
                watcher.add(_line_of("ADDED", record.raw))
            if wanted.initial_events and wanted.bookmarks:
                watcher.bookmark(self._store.version, INITIAL_EVENTS_END)
            return
        try:
            for change in self._history.since(wanted.resource, int(wanted.version)):
                watcher.take(change)
        except RefusedError as refused:
            watcher.refuse(refused)

    async def _send(self, response: web.StreamResponse, watcher: Watcher) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + watcher.wanted.timeout_s
        while not watcher.is_over or watcher.lines:
            next_bookmark_at = loop.time() + self._bookmark_s
            if not await _set_by(watcher.news, min(ends_at, next_bookmark_at)):
                watcher.is_over |= loop.time() >= ends_at
                if watcher.wanted.bookmarks:
                    watcher.bookmark(self._store.version)
            await self._flowing.wait()
            watcher.news.clear()
            while watcher.lines:
                count = min(LINES_A_CHUNK, len(watcher.lines))
                await response.write(b"".join(watcher.lines.popleft() for _ in range(count)))
            if loop.time() >= ends_at:
                return

    def _all(self) -> list[Watcher]:
        return [watcher for watchers in self._open.values() for watcher in watchers]


async def _set_by(event: asyncio.Event, time: float) -> bool:
    try:
        async with asyncio.timeout_at(time):
            return await event.wait()
    except TimeoutError:
        return False


def _departed(change: Change) -> bytes:
    if change.before is None:
        raise ValueError("what was not there has not departed")
    body = change.before.body()
    body["metadata"]["resourceVersion"] = str(change.record.version)
    return orjson.dumps(body)


def _line_of(kind: str, raw: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), raw)
