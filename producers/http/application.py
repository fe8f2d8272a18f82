"""The application: routes made of the endpoints, each answered in a thread; what is no endpoint is a problem, too."""

from asyncio import wrap_future
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import anyio
import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pgfleet.producers.http.addresses import ByNoun, WithoutHost
from pgfleet.producers.http.answering import Asked, Desk, Found, Held, Later, Soon, Streamed
from pgfleet.producers.http.endpoint import Endpoint, Waiting
from pgfleet.producers.http.events.hub import Hub, TooManyStreams
from pgfleet.producers.http.events.limits import PACE, Pace
from pgfleet.producers.http.events.streams import MEDIA_TYPE, stream
from pgfleet.producers.http.health.metrics import ENDPOINT, STREAMS, Measured
from pgfleet.producers.http.limits.body import BodyLimits, Limits, has_body
from pgfleet.producers.http.limits.crowd import Crowd
from pgfleet.producers.http.limits.proxies import bucket_of, client_address
from pgfleet.producers.http.problem import problem
from pgfleet.producers.http.reading import read_query
from pgfleet.producers.http.refusing import of_database, of_fleet
from pgfleet.schema.errors import FleetError
from pgfleet.schema.identity.speaking import Origin
from pgfleet.schema.tracing import spans

# How long after each other it is looked again for what comes in a moment: two seconds in all.
LOOKS_S = (0.1, 0.2, 0.3, 0.6, 0.8)
# What says who asks and what: given twice, it is not for us to choose.
ONCE = (
    *(b"authorization", b"x-api-key", b"idempotency-key", b"content-type", b"content-encoding"),
    *(b"if-none-match", b"last-event-id"),
)
# What says when not to write: tags are of what is shown, which moves by itself.
UNKEPT = (b"if-match", b"if-unmodified-since")


@dataclass
class Live:
    """What exists while the application runs, on its loop."""

    hub: Hub | None = None

    def started(self) -> Hub:
        if self.hub is None:
            raise RuntimeError("the application was not started (lifespan)")
        return self.hub


@dataclass(frozen=True)
class Ground:
    """What routes beside the API's stand on: its endpoints, its threads, its hub."""

    desk: Desk
    endpoints: tuple[Endpoint, ...]
    crowd: Crowd
    live: Live


Beside = Callable[[Ground], Iterable[BaseRoute]]


def nothing_beside(_: Ground) -> Iterable[BaseRoute]:
    return ()


@dataclass(frozen=True)
class Resource:
    """One address, with the endpoint of each method."""

    desk: Desk
    by_method: Mapping[str, Endpoint]
    crowd: Crowd
    live: Live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        endpoint = self.by_method.get("GET" if request.method == "HEAD" else request.method)
        # The head of a stream says nothing, and a stream would be held for it.
        if endpoint is None or (endpoint.streams and request.method == "HEAD"):
            allowed = ", ".join(self._methods())
            return problem(405, "method-not-allowed", f"here it is {allowed}", headers={"Allow": allowed})
        request.scope[ENDPOINT] = endpoint.name
        raw: list[tuple[bytes, bytes]] = request.scope["headers"]
        names = [name for name, _ in raw]
        twice = [name.decode() for name in ONCE if names.count(name) > 1]
        if twice:
            return problem(400, "bad-request", f"the header {twice[0]} is there twice")
        if any(name in names for name in UNKEPT):
            return problem(400, "bad-request", "If-Match and If-Unmodified-Since can't be kept here; nothing was done")
        return await self._answered(endpoint, await asked_in(request, self.desk))

    def _methods(self) -> list[str]:
        got = self.by_method.get("GET")
        return sorted({*self.by_method, *(() if got is None or got.streams else ("HEAD",))})

    async def _answered(self, endpoint: Endpoint, asked: Asked) -> Response:
        wait_s = _wait_s(endpoint, asked.query)
        found = await self._in_thread(endpoint, asked, may_wait=wait_s > 0)
        if isinstance(found, Later):
            try:
                return found.finish(await wrap_future(found.future))
            except FleetError as error:
                return of_fleet(error)
        if isinstance(found, Streamed):
            return await self._stream(found)
        if isinstance(found, Soon):
            return await self._look_again(endpoint, found)
        if not isinstance(found, Held):
            return found
        try:
            has_moved = await self.live.started().wait_for(found.machine, found.row_id, found.last_move, wait_s)
        except TooManyStreams as error:
            return of_fleet(error)
        except psycopg.Error:
            return found.response
        again = await self._in_thread(endpoint, asked, may_wait=False) if has_moved else found.response
        return again if isinstance(again, Response) else found.response

    async def _look_again(self, endpoint: Endpoint, found: Soon) -> Response:
        """Until there is more, or the time is over; between two looks it has neither a thread nor a session."""
        for after_s in LOOKS_S:
            await anyio.sleep(after_s)
            again = await self._in_thread(endpoint, found.asked, may_wait=False)
            if isinstance(again, Response) and again.status_code < HTTPStatus.BAD_REQUEST:
                return again
            if not isinstance(again, Soon):
                break
            found = again
        return found.response

    async def _stream(self, wanted: Streamed) -> Response:
        is_still = partial(self.desk.is_still, wanted.principal, wanted.brought)
        try:
            body = await stream(self.live.started(), wanted.principal, wanted.position, wanted.filters, is_still)
        except FleetError as error:
            return of_fleet(error)
        except psycopg.Error as error:
            return of_database(error)
        # What lies between must neither keep it back nor keep it.
        return StreamingResponse(body, 200, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, MEDIA_TYPE)

    async def _in_thread(self, endpoint: Endpoint, asked: Asked, *, may_wait: bool) -> Found:
        def answer() -> Found:
            with spans.serving(f"{endpoint.method} {endpoint.path}", asked.headers):
                return self.desk.answer(endpoint, asked, may_wait=may_wait)

        return await self.crowd.in_thread(answer)


async def asked_in(request: Request, desk: Desk) -> Asked:
    """What a request asks, its body read whole."""
    raw: list[tuple[bytes, bytes]] = request.scope["headers"]
    peer = request.client.host if request.client else None
    address = client_address(peer, raw, desk.serving.trusted_proxies)
    # Of several of one name, the first.
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(raw)}
    return Asked(
        path=request.path_params,
        query=request.scope["query_string"],
        headers=headers,
        body=await request.body() if has_body(request.scope) else b"",
        origin=Origin(str(address) if address else None, headers.get("user-agent")),
        bucket=bucket_of(address),
    )


def _wait_s(endpoint: Endpoint, query: bytes) -> float:
    """How long it may be held back; what can't be read is told by whoever reads all parameters."""
    if endpoint.machine is None or b"wait" not in query:
        return 0
    try:
        asked = read_query(endpoint.asks, query)
    except FleetError:
        return 0
    return asked.wait if isinstance(asked, Waiting) else 0


def application(
    desk: Desk,
    endpoints: tuple[Endpoint, ...],
    routes: Iterable[Route] = (),
    pace: Pace = PACE,
    beside: Beside = nothing_beside,
) -> ASGIApp:
    """Routes of the endpoints, and others beside them; the hub of streams lives as long as it runs."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    # Whoever has a thread has a session: there are as many.
    crowd, live = Crowd(desk.serving.serve_threads), Live()
    made = ByNoun(
        Route(path, Resource(desk, methods, crowd, live), include_in_schema=False)
        # `{id}:replay` before `{id}`, which fits it, too.
        for path, methods in sorted(by_path.items(), key=lambda each: "}:" not in each[0])
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        live.hub = hub = Hub(desk.settings.direct_dsn(), desk.pool, pace=pace)
        desk.ending.tell(hub.end)
        STREAMS.set_function(lambda: len(hub))
        try:
            yield
        finally:
            await hub.stop()
            crowd.close()

    others = beside(Ground(desk, endpoints, crowd, live))
    app = Starlette(
        routes=[made, *routes, *others], exception_handlers={HTTPException: _no_endpoint}, lifespan=lifespan
    )
    app.router.redirect_slashes = False
    return Measured(BodyLimits(WithoutHost(app), Limits(body_timeout_s=desk.serving.body_timeout_s)))


async def _no_endpoint(_: Request, error: Any) -> Response:
    await anyio.lowlevel.checkpoint()
    if error.status_code == 404:
        return problem(404, "not-found", "there is nothing at this address; /openapi.json lists what there is")
    return problem(error.status_code, "bad-request", str(error.detail))
