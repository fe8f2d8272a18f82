"""Requests that are too large or too slow end before they reach anybody.

The whole body is read here, within a time, and only then is a thread given to the request: a client that sends a byte
a second holds none.
"""

import asyncio
import re
from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgfleet.producers.http.problem import problem

BODY_BYTES = 1024 * 1024
# Of all bodies that are here at once, but for the beginning of each: who sends little is taken beside who sends much.
HELD_BYTES = 64 * BODY_BYTES
SMALL_BYTES = 8 * 1024
HEAD_BYTES = 16 * 1024
MOST_HEADERS = 100
BODY_TIMEOUT_S = 20.0
AGAIN = {"Retry-After": "1"}
# As a field's line has it: `name: value`, and the end of the line.
_BESIDE = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may be."""

    body_bytes: int = BODY_BYTES
    head_bytes: int = HEAD_BYTES
    body_timeout_s: float = BODY_TIMEOUT_S
    held_bytes: int = HELD_BYTES


class BodyLimits:
    """An ASGI middleware; the application behind it finds the body complete."""

    def __init__(self, app: ASGIApp, limits: Limits | None = None) -> None:
        self.app = app
        self.limits = limits or Limits()
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = _head_refused(scope, self.limits)
        if refused is None and not has_body(scope):
            await self.app(scope, receive, send)
            return
        held = bytearray()
        try:
            body = refused or await self._read(receive, held)
            if isinstance(body, Response):
                await body(scope, receive, send)
            elif body is not None:
                await self.app(scope, _replayed(body, receive), send)
        finally:
            self._held -= _beyond_small(held)

    async def _read(self, receive: Receive, body: bytearray) -> bytes | Response | None:
        """All of the body, or why it is not taken; None where the client has gone."""
        try:
            async with asyncio.timeout(self.limits.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    before = _beyond_small(body)
                    body += message.get("body", b"")
                    self._held += _beyond_small(body) - before
                    if self._held > self.limits.held_bytes and len(body) > SMALL_BYTES:
                        return _last(HTTPStatus.SERVICE_UNAVAILABLE, "too-full", "too much is being sent", **AGAIN)
                    if len(body) > self.limits.body_bytes:
                        return _too_large(self.limits.body_bytes)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            detail = f"The body was not here within {self.limits.body_timeout_s:g} s."
            return _last(HTTPStatus.REQUEST_TIMEOUT, "too-slow", detail)


def _beyond_small(body: bytearray) -> int:
    return max(len(body) - SMALL_BYTES, 0)


def _replayed(body: bytes, receive: Receive) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again


def _head_refused(scope: Scope, limits: Limits) -> Response | None:
    headers = scope["headers"]
    size = sum(len(name) + len(value) + _BESIDE for name, value in headers)
    size += len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    if size > limits.head_bytes or len(headers) > MOST_HEADERS:
        detail = f"Address and headers may have {limits.head_bytes} bytes in {MOST_HEADERS} headers."
        return _last(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too-large", detail)
    lengths = {value.strip() for name, value in headers if name == b"content-length"}
    if not lengths:
        return None
    if any(name == b"transfer-encoding" for name, _ in headers):
        return _last(HTTPStatus.BAD_REQUEST, "bad-request", "A body has a Content-Length or is chunked, not both.")
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,20}", length := lengths.pop()):
        return _last(HTTPStatus.BAD_REQUEST, "bad-request", "Content-Length is not one number.")
    return _too_large(limits.body_bytes) if int(length) > limits.body_bytes else None


def has_body(scope: Scope) -> bool:
    """Whether its headers announce one."""
    return any(
        (name == b"content-length" and value.strip(b" 0") != b"") or name == b"transfer-encoding"
        for name, value in scope["headers"]
    )


def _too_large(most_bytes: int) -> Response:
    detail = f"A body may have {most_bytes} bytes."
    return _last(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", detail)


def _last(status: HTTPStatus, slug: str, detail: str, **more: str) -> Response:
    """An answer after which the connection ends: what still comes on it is not read."""
    return problem(status, slug, detail, headers={"Connection": "close", **more})
