"""The board watches the hub while somebody looks, and renders what has changed, once for all who see it.

    moves --> hub --> board --(is_due)--> one task a view --(render, in a thread)--> parts --> its viewers

What moves is rendered at once; a view that goes on moving, for two thirds of the time at most, however long it takes.
Of rows that are not the viewer's, a page shows no more than places and counts: it follows their moves once a second.
What changes without a move (queues, time) is seen every few seconds.
"""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog

from pgfleet.console.web.live.views import Key, Shared, Viewer
from pgfleet.console.web.page import Page, Screen, View, parts_of
from pgfleet.console.web.visiting import answered
from pgfleet.producers.http.application import Ground
from pgfleet.producers.http.events.hub import TooManyStreams
from pgfleet.producers.http.limits.buckets import Buckets, Policy
from pgfleet.schema.feed.event import Event

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_VIEWERS = 1_000
# Between two renderings of one view at least, and after one that failed.
LEAST_S, AGAIN_S = 0.05, 2.0
# What moves right after a move is rendered with it.
GATHER_S = 0.02
# From a move of a row that is not the viewer's to its rendering.
OTHERS_S = 1.0
# Pages that were opened together are not rendered together for ever after, as that keeps a move waiting.
SPREAD = 0.3
# So many are rendered at once, of which one waits for the database: more would keep each other late on one core.
AT_ONCE = 2
# A rendering that has taken so long waits for a database that does not answer.
SILENT_S = 5.0
UNCOUNTED = Policy("rendering", 1_000_000, 1_000_000)


def _written(resting: Collection[str], _: View, screen: Screen) -> bytes:
    return json.dumps(dict(parts_of(screen, resting))).encode()


@dataclass
class Board:
    """All views that somebody has open. On the loop only."""

    ground: Ground
    least_s: float = LEAST_S
    _shared: dict[Key, Shared] = field(default_factory=dict, init=False)
    _moved_by: defaultdict[tuple[str, str | None], set[Shared]] = field(
        default_factory=lambda: defaultdict(set), init=False
    )
    is_ending: bool = field(default=False, init=False)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE), init=False)

    def __post_init__(self) -> None:
        """A rendering is nobody's request: it is not counted against the viewer as whom it is asked for."""
        desk = replace(self.ground.desk, principals=Buckets(UNCOUNTED))
        self.ground = replace(self.ground, desk=desk)
        desk.ending.tell(self.end)

    def __len__(self) -> int:
        return sum(len(shared.viewers) for shared in self._shared.values())

    @asynccontextmanager
    async def looking(self, key: Key, page: Page, viewer: Viewer) -> AsyncIterator[Shared]:
        """A viewer of a view, which is rendered from the first to the last one's time.

        Raises:
            TooManyStreams: as many look as may.
        """
        if self.is_ending or len(self) >= MOST_VIEWERS:
            raise TooManyStreams("as many pages are open as this process keeps up to date")
        shared = self._shared.get(key) or self._begun(key, page, viewer)
        shared.viewers.append(viewer)
        viewer.changed.set()
        try:
            yield shared
        finally:
            shared.viewers.remove(viewer)
            if not shared.viewers:
                self._end(key, shared)

    def _begun(self, key: Key, page: Page, viewer: Viewer) -> Shared:
        shared = self._shared[key] = Shared(key, page, viewer.asked.path.get(page.row) if page.row else None)
        for moved in shared.moved_by:
            self._moved_by[moved].add(shared)
        self.ground.live.started().watch(self._moved)
        shared.is_due.set()
        shared.keeping = asyncio.create_task(self._keep(shared))
        return shared

    def _end(self, key: Key, shared: Shared) -> None:
        del self._shared[key]
        for moved in shared.moved_by:
            self._moved_by[moved].discard(shared)
            if not self._moved_by[moved]:
                del self._moved_by[moved]
        shared.end()
        if not self._shared:
            self.ground.live.started().unwatch(self._moved)

    def _moved(self, events: Sequence[Event] | None) -> None:
        """Say of each view that what it shows has moved; of all, where it is not known what has."""
        if events is None:
            for shared in self._shared.values():
                shared.is_due.set()
            return
        for event in {(event.machine, event.row_id): event for event in events}.values():
            for moved in ((event.machine, None), (event.machine, event.row_id)):
                for shared in self._moved_by.get(moved, ()):
                    if shared.key.is_of(event):
                        shared.is_due.set()
                    else:
                        shared.due_within(OTHERS_S)

    async def _keep(self, shared: Shared) -> None:
        """Render it when it is due, and now and then."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(shared.page.every_s * random.uniform(1 - SPREAD, 1)):  # noqa: S311
                    await shared.is_due.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(GATHER_S)
            shared.is_due.clear()
            began = loop.time()
            # Of a database that is silent, whoever looks is told long before each session has given it up.
            silence = loop.call_later(SILENT_S, self._silent, shared, began)
            try:
                async with self._turns:
                    its_turn_at = loop.time()
                    is_rendered = await self._rendered(shared)
            except Exception as error:  # noqa: BLE001  # a fault of ours: nobody waits for this task to be told of it
                self._complain(shared, exc_info=error)
                is_rendered = False
            finally:
                silence.cancel()
            if is_rendered:
                await asyncio.sleep(max(self.least_s, (loop.time() - its_turn_at) / 2))
            else:
                shared.stale(began)
                shared.is_due.set()
                await asyncio.sleep(AGAIN_S)

    def _silent(self, shared: Shared, began: float) -> None:
        self._complain(shared, silent_s=SILENT_S)
        shared.stale(began)

    async def _rendered(self, shared: Shared) -> bool:
        """As one of its viewers sees it: whose session has ended leaves by themselves, and another one is asked for."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        resting = shared.resting(now)
        endpoint = shared.page.endpoint(partial(_written, resting), "_live")
        for viewer in list(shared.viewers):
            found = await answered(self.ground, endpoint, viewer.asked)
            if found.status_code == HTTPStatus.OK:
                shared.show(json.loads(bytes(found.body)), resting, now)
                if resting:
                    loop.call_at(min(resting.values()), shared.is_due.set)
                return True
            if found.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                self._complain(shared, status=found.status_code)
                return False
        return False

    def _complain(self, shared: Shared, **why: Any) -> None:
        if shared.stale_since is None:
            log.warning("web.not_rendered", page=shared.page.name, **why)

    def end(self) -> None:
        """Every page is told that the process ends, and comes back to another one."""
        self.is_ending = True
        for shared in self._shared.values():
            shared.tell()
