"""`/live/...`: what changes on the page of that address, as Server-Sent Events that htmx puts into their places.

A message without a name is HTML, a `<hx-partial>` for each part that has changed. Those with one are for `app.js`:
`beat` (all is well), `stale` and `fresh` (the database is away, since when; and back), `gone` (sign in again).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus

import psycopg
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pgfleet.console.web.live.board import Board
from pgfleet.console.web.live.views import Key, Shared, Viewer
from pgfleet.console.web.page import PLACE, Page
from pgfleet.console.web.safety import HEADERS
from pgfleet.console.web.visiting import answered, proven
from pgfleet.producers.http.answering import Asked
from pgfleet.producers.http.endpoint import Answer, Call, Endpoint
from pgfleet.producers.http.events.frames import retry
from pgfleet.producers.http.events.hub import TooManyStreams
from pgfleet.producers.http.events.streams import MEDIA_TYPE
from pgfleet.producers.http.permissions import whose
from pgfleet.producers.http.problem import problem
from pgfleet.producers.http.refusing import of_fleet
from pgfleet.schema.asking import Role, Whose
from pgfleet.schema.identity.principal import Principal, Proof

RETRY_MS = 1000


@dataclass(frozen=True, slots=True)
class Pace:
    """How often one hears that all is well, and how often the session is looked at anew."""

    beat_s: float = 10.0
    check_s: float = 25.0


PACE = Pace()


@dataclass(frozen=True)
class Stream:
    """The stream of one page's address."""

    page: Page
    board: Board
    pace: Pace = PACE

    async def __call__(self, request: Request) -> Response:
        asked = await proven(request, self.board.ground)
        if asked is None:
            return problem(401, "not-proven", "The session has ended.")
        principal = await self._principal(asked)
        if isinstance(principal, Response):
            return principal
        # A head has no stream.
        if request.method == "HEAD":
            return Response(status_code=200, headers=HEADERS, media_type=MEDIA_TYPE)
        try:
            self.board.ground.live.started()
        except RuntimeError:
            return problem(503, "too-full", "Not started yet.")
        if self.board.is_ending:
            return of_fleet(TooManyStreams("this process ends"))
        frames = self._frames(asked, principal)
        return StreamingResponse(
            frames, 200, {**HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}, MEDIA_TYPE
        )

    async def _principal(self, asked: Asked) -> Principal | Response:
        """Who looks, if they may: what the page itself would say otherwise."""

        def handle(call: Call) -> Answer:
            who = call.principal
            return Answer({"username": who.username, "role": who.role.value, "key_id": who.key_id})

        handle.__name__ = f"{self.page.name}_stream"
        endpoint = Endpoint("GET", f"{PLACE}/{self.page.name}", self.page.title, self.page.permission, handle)
        found = await answered(self.board.ground, endpoint, replace(asked, query=b""))
        if found.status_code != HTTPStatus.OK:
            return found
        said = json.loads(bytes(found.body))
        return Principal(said["username"], Role(said["role"]), Proof.KEY, key_id=said["key_id"])

    def _key(self, asked: Asked, principal: Principal) -> Key:
        """Whoever sees everybody's sees the same, unless the page is about oneself."""
        is_shared = whose(self.page.permission, principal.role) == Whose.ANY and not self.page.is_own
        name = "" if is_shared else principal.username
        return Key(self.page.name, tuple(sorted(asked.path.items())), asked.query, principal.role, name)

    async def _frames(self, asked: Asked, principal: Principal) -> AsyncIterator[bytes]:
        viewer = Viewer(asked)
        check_at = time.monotonic() + self.pace.check_s
        try:
            async with self.board.looking(self._key(asked, principal), self.page, viewer) as shared:
                yield retry(RETRY_MS)
                yield _named("beat")
                while not self.board.is_ending:
                    if not await _changed(viewer, self.pace.beat_s):
                        yield _named("beat")
                    for frame in _news(shared, viewer):
                        yield frame
                    if time.monotonic() >= check_at:
                        check_at = time.monotonic() + self.pace.check_s
                        if not await self._is_still(asked, principal):
                            yield _named("gone")
                            return
        except TooManyStreams:
            yield _named("full")

    async def _is_still(self, asked: Asked, principal: Principal) -> bool:
        """While the database is away, what was known last."""
        key = asked.headers["authorization"].removeprefix("Bearer ")
        try:
            return await self.board.ground.live.started().in_thread(
                partial(self.board.ground.desk.is_still, principal, key)
            )
        except psycopg.Error:
            return True


async def _changed(viewer: Viewer, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await viewer.changed.wait()
    except TimeoutError:
        return False
    viewer.changed.clear()
    return True


def _news(shared: Shared, viewer: Viewer) -> list[bytes]:
    frames = []
    if (shared.stale_since is not None) != viewer.was_stale:
        viewer.was_stale = not viewer.was_stale
        frames.append(_named("stale" if viewer.was_stale else "fresh"))
    news = shared.news_for(viewer)
    if news is not None:
        frames.append(news)
    return frames


def _named(event: str) -> bytes:
    return f"event: {event}\ndata: {time.time():.0f}\n\n".encode()
