"""Watches: the changes of one resource, remembered and new, as lines on an open connection."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox.kubernetes.selectors import Selector
    from pgfleet.console.sandbox.kubernetes.store import Change, Record, Store

LONGEST_BACKLOG = 20_000  # a watcher that is further behind is told to list again


@dataclass(slots=True, eq=False)
class Watcher:
    """`lines` wait to be sent; one that `is_over` ends when they are."""

    resource: str
    namespace: str
    selector: Selector
    lines: deque[bytes] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def take(self, change: Change) -> None:
        line = self._line(change)
        if line is None:
            return
        self.lines.append(line)
        if len(self.lines) > LONGEST_BACKLOG:
            self.lines = deque([error_line(RefusedError(410, "the watch is too far behind"))])
            self.is_over = True
        self.news.set()

    def _line(self, change: Change) -> bytes | None:
        """A change into or out of the selection is seen as an arrival or a departure."""
        if self.namespace not in ("", change.record.key[1]):
            return None
        was = change.before is not None and self._selects(change.before)
        if change.kind == "DELETED":
            return _line_of("DELETED", change.record) if was else None
        if self._selects(change.record):
            return _line_of("MODIFIED" if was else "ADDED", change.record)
        return _line_of("DELETED", change.record) if was else None

    def _selects(self, record: Record) -> bool:
        return self.selector.matches(record.labels, record.fields)


class Watchers:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, set[Watcher]] = {}
        self._closed = False

    def watch(self, change: Change) -> None:
        for watcher in self._open.get(change.record.key[0], ()):
            if not watcher.is_over:
                watcher.take(change)

    def close(self) -> None:
        """Ends all watches; they would hold up the end of the server."""
        self._closed = True
        for watchers in self._open.values():
            for watcher in watchers:
                watcher.is_over = True
                watcher.news.set()

    async def stream(
        self, request: web.BaseRequest, watcher: Watcher, version: str, timeout_s: float
    ) -> web.StreamResponse:
        """Everything since `version`; without one the objects there are, as arrivals, and then what comes."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        for line in self._backlog(watcher, version):
            watcher.lines.append(line)
        watcher.news.set()
        watchers = self._open.setdefault(watcher.resource, set())
        watchers.add(watcher)
        try:
            await response.prepare(request)
            async with asyncio.timeout(timeout_s):
                await self._send(response, watcher)
        except TimeoutError:
            pass
        finally:
            watchers.discard(watcher)
        return response

    def _backlog(self, watcher: Watcher, version: str) -> Iterator[bytes]:
        if version in ("", "0"):
            for record in self._store.select(watcher.resource, watcher.namespace, watcher.selector):
                yield _line_of("ADDED", record)
            return
        try:
            changes = self._store.changes_since(watcher.resource, int(version))
        except RefusedError as refused:
            watcher.is_over = True
            yield error_line(refused)
            return
        for change in changes:
            watcher.take(change)

    async def _send(self, response: web.StreamResponse, watcher: Watcher) -> None:
        while True:
            await watcher.news.wait()
            watcher.news.clear()
            chunk = b"".join(watcher.lines)
            watcher.lines.clear()
            if chunk:
                await response.write(chunk)
            if (watcher.is_over or self._closed) and not watcher.lines:
                return


def _line_of(kind: str, record: Record) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), record.raw)


def error_line(refused: RefusedError) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": refused.status}) + b"\n"
