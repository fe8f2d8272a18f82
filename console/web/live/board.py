"""The board follows the hub while somebody looks, and renders each view that has changed, once a second at most.

    moves --> hub --> board --(is_due)--> one task a view --(render, in a thread)--> parts --> its viewers

Whatever moves is seen within a tenth of a second; what changes without a move (queues, places, time) every few.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import structlog
from starlette.responses import Response

from pgfleet.console.web.live.views import Key, Shared, Viewer
from pgfleet.console.web.page import Page, Screen, View, parts_of
from pgfleet.console.web.visiting import answered
from pgfleet.producers.http.application import Ground
from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.producers.http.events.hub import Hub, TooManyStreams
from pgfleet.producers.http.events.subscription import Closed, Subscription
from pgfleet.producers.http.limits.buckets import Buckets, Policy
from pgfleet.schema.asking import Role
from pgfleet.schema.feed.filters import ALL
from pgfleet.schema.identity.principal import Principal, Proof

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_VIEWERS = 1_000
# Between two renderings of one view, and after one that failed.
LEAST_S, AGAIN_S = 1.0, 2.0
# What moves together is looked at together.
TOGETHER_S = 0.05
LOOK_S = 5.0
# It hears of every move, and tells nobody more than that something has moved.
LISTENER = Principal("the dashboard", Role.DEVOPS, Proof.KEY)


UNCOUNTED = Policy("rendering", 1_000_000, 1_000_000)


def _written(_: View, screen: Screen) -> bytes:
    return json.dumps({"parts": dict(parts_of(screen)), "title": screen.title}).encode()


@dataclass
class Board:
    """All views that somebody has open. On the loop only."""

    ground: Ground
    least_s: float = LEAST_S
    _shared: dict[Key, Shared] = field(default_factory=dict, init=False)
    _following: asyncio.Task[None] | None = field(default=None, init=False)
    is_ending: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """A rendering is nobody's request: it is not counted against the viewer as whom it is asked for."""
        desk = replace(self.ground.desk, principals=Buckets(UNCOUNTED))
        self.ground = replace(self.ground, desk=desk)

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
        shared = self._shared.get(key)
        if shared is None:
            row_id = viewer.asked.path.get(page.row) if page.row else None
            shared = self._shared[key] = Shared(page, row_id)
        shared.viewers.append(viewer)
        if shared.keeping is None:
            shared.is_due.set()
            shared.keeping = asyncio.create_task(self._keep(shared))
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow(self.ground.live.started()))
        viewer.changed.set()
        try:
            yield shared
        finally:
            shared.viewers.remove(viewer)
            if not shared.viewers and self._shared.get(key) is shared:
                del self._shared[key]
                shared.keeping.cancel()

    async def _keep(self, shared: Shared) -> None:
        """Render it when it is due, and now and then."""
        endpoint = shared.page.endpoint(_written, "_live")
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(shared.page.every_s):
                    await shared.is_due.wait()
            except TimeoutError:
                pass
            shared.is_due.clear()
            began = loop.time()
            if await self._rendered(shared, endpoint):
                await asyncio.sleep(max(0.0, began + self.least_s - loop.time()))
            else:
                shared.stale_since = shared.stale_since or began
                shared.tell()
                shared.is_due.set()
                await asyncio.sleep(AGAIN_S)

    async def _rendered(self, shared: Shared, endpoint: Endpoint) -> bool:
        """As one of its viewers sees it: whose session has ended leaves by themselves, and another one is asked for."""
        for viewer in list(shared.viewers):
            found = await answered(self.ground, endpoint, viewer.asked)
            if found.status_code == HTTPStatus.OK:
                parts = json.loads(bytes(found.body))["parts"]
                if parts != shared.parts or shared.stale_since is not None:
                    shared.parts, shared.stale_since = parts, None
                    shared.tell()
                return True
            if found.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                self._complain(shared, found)
                return False
        return False

    def _complain(self, shared: Shared, found: Response) -> None:
        if shared.stale_since is None:
            log.warning("web.not_rendered", page=shared.page.name, status=found.status_code)

    async def _follow(self, hub: Hub) -> None:
        """Say of each view that what it shows has moved, while there is any."""
        subscription: Subscription | None = None
        try:
            while self._shared:
                if subscription is None:
                    subscription = hub.subscribe(LISTENER, ALL)
                    hub.follow(subscription)
                await subscription.changed(LOOK_S)
                if subscription.closed is Closed.STOPPING:
                    self.end()
                    return
                if subscription.closed is not None:
                    # Too much has moved to be told one by one.
                    hub.leave(subscription)
                    subscription = None
                    self._all_due()
                    continue
                events = [published.event for published in subscription.take()]
                for shared in self._shared.values():
                    if any(map(shared.takes, events)):
                        shared.is_due.set()
                await asyncio.sleep(TOGETHER_S)
        except TooManyStreams:
            # The views are rendered every few seconds all the same.
            log.warning("web.not_following", views=len(self._shared))
        finally:
            if subscription is not None:
                hub.leave(subscription)

    def _all_due(self) -> None:
        for shared in self._shared.values():
            shared.is_due.set()

    def end(self) -> None:
        """Every page is told that the process ends, and comes back to another one."""
        self.is_ending = True
        for shared in self._shared.values():
            shared.tell()
