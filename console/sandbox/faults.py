"""Faults on order: the next matching requests are refused, delayed, dropped, or done and then denied."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pgfleet.console.sandbox.answers import answer
from pgfleet.console.sandbox.hopsworks import servers as hopsworks
from pgfleet.console.sandbox.hopsworks.refusals import hopsworks_failure
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, failure
from pgfleet.console.sandbox.orders import Orders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


ANYTHING = re.compile("")


@dataclass(slots=True)
class Fault:
    """`path` is searched in the request's path, `query` in its query; `status` None and no `drop` only delays.

    A delay ends when faults are cleared, too.

    `after` carries the request out first, and then delays, refuses or drops its answer, so that a caller who has left
    by then has had its request done. `text` is the body of an answer that is no JSON, such as a proxy's page, and
    `body` a whole `Status` that is answered with its own code.
    """

    path: re.Pattern[str]
    method: str | None = None
    status: int | None = None
    retry_after: float | None = None
    times: int = 1
    delay_s: float = 0.0
    drop: bool = False
    after: bool = False
    reason: str = ""
    message: str = "a fault of the sandbox"
    details: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    body: dict[str, Any] | None = None
    query: re.Pattern[str] = ANYTHING

    def __post_init__(self) -> None:
        if self.body:
            self.status = int(self.body["code"])

    def matches(self, request: web.BaseRequest) -> bool:
        if self.method not in (None, request.method):
            return False
        return bool(self.path.search(request.path) and self.query.search(request.query_string))


class Faults:
    def __init__(self) -> None:
        self.orders: Orders[Fault] = Orders()
        self._cleared = asyncio.Event()

    def clear(self) -> None:
        """Nothing more goes wrong, and what is delayed goes on."""
        self.orders.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    def order(self, wanted: dict[str, Any]) -> None:
        """Raises `RefusedError` (400) for an order that can't be read."""
        try:
            path, query = re.compile(wanted["path"]), re.compile(wanted.get("query", ""))
            self.orders.add(Fault(**{**wanted, "path": path, "query": query}))
        except (KeyError, TypeError, re.error) as error:
            raise RefusedError(400, f"a fault has a path, which is a regular expression: {error}") from error

    async def through(self, request: web.BaseRequest, handler: Handler) -> web.StreamResponse:
        """The handler's answer, or that of the fault that was ordered for the request."""
        fault = self.orders.take(lambda fault: fault.matches(request))
        if fault is None:
            return await handler(request)
        if fault.after:
            done = await handler(request)
            await self._delay(fault.delay_s)
            spoilt = _spoilt(fault, request)
            return done if spoilt is None else spoilt
        await self._delay(fault.delay_s)
        await request.read()
        spoilt = _spoilt(fault, request)
        return await handler(request) if spoilt is None else spoilt

    async def _delay(self, seconds: float) -> None:
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._cleared.wait(), seconds)


def _spoilt(fault: Fault, request: web.BaseRequest) -> web.Response | None:
    """The answer in place of the real one; None for a fault that only delays."""
    if fault.drop:
        return _dropped(request)
    return _refused(fault, request) if fault.status is not None else None


def _dropped(request: web.BaseRequest) -> web.Response:
    """Close the connection without an answer."""
    if request.transport:
        request.transport.abort()
    return web.Response()


def _refused(fault: Fault, request: web.BaseRequest) -> web.Response:
    code = fault.status or 500
    response = (
        web.Response(text=fault.text, status=code) if fault.text else answer(_document(fault, request, code), code)
    )
    if fault.retry_after is not None:
        response.headers["Retry-After"] = f"{fault.retry_after:g}"
    return response


def _document(fault: Fault, request: web.BaseRequest, code: int) -> dict[str, Any]:
    if fault.body:
        return fault.body
    if request.path.startswith(hopsworks.PREFIX):
        return hopsworks_failure(code, fault.message)
    details = fault.details | ({"retryAfterSeconds": int(fault.retry_after)} if fault.retry_after else {})
    return failure(code, fault.message, reason=fault.reason, details=details)
