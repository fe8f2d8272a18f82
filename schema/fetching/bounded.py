"""A request that is over in time, and after so many bytes, whatever the server does.

httpx's own timeouts bound each read alone, so a server that sends a byte a second holds its caller for ever; and
nothing of it counts the bytes of headers, of interim answers or of the frames of a body.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

CONNECTIONS = 64
# What may come before a body: its headers, and the hints before them.
HEAD_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """All that one request may take: `timeout_s` for each part of it, and twice that in all."""

    timeout_s: float
    size_bytes: int


class TooLongError(httpcore.ReadError):
    """An answer has more bytes than it may have."""


class _Left(threading.local):
    """What the request of this thread may still take."""

    until: float = 0.0
    size_bytes: int = 0

    def begin(self, bounds: Bounds) -> None:
        self.until = time.monotonic() + 2 * bounds.timeout_s
        self.size_bytes = HEAD_BYTES

    def go_on(self, bounds: Bounds) -> None:
        """A body may come in many pieces, each with a frame."""
        self.size_bytes += 2 * bounds.size_bytes

    def seconds(self, timeout_s: float | None, expired: type[httpcore.TimeoutException]) -> float:
        left_s = self.until - time.monotonic()
        if left_s <= 0:
            raise expired
        return left_s if timeout_s is None else min(timeout_s, left_s)

    def take(self, size_bytes: int) -> None:
        self.size_bytes -= size_bytes
        if self.size_bytes < 0:
            raise TooLongError("more bytes than an answer may have")


# The address to connect to for a host and a port, within some seconds; raises httpcore.ConnectError for none.
Resolve = Callable[[str, int, float], str]


class BoundedTransport(httpx.HTTPTransport):
    """httpx's own, on a pool whose every read and write counts. Only the proxy that is given is asked.

    With `resolve`, that says where a host is; TLS is still verified by the host's name.
    """

    def __init__(self, bounds: Bounds, proxy: str | None = None, resolve: Resolve | None = None) -> None:
        self._bounds = bounds
        self._left = _Left()
        pool: dict[str, Any] = {
            "ssl_context": httpx.create_ssl_context(),
            "max_connections": CONNECTIONS,
            "max_keepalive_connections": CONNECTIONS,
            "keepalive_expiry": 5,
            "network_backend": _Network(self._left, resolve),
        }
        self._pool = httpcore.ConnectionPool(**pool) if proxy is None else _by_way_of(httpx.Proxy(proxy), pool)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._left.begin(self._bounds)
        response = super().handle_request(request)
        self._left.go_on(self._bounds)
        return response


def _by_way_of(proxy: httpx.Proxy, pool: dict[str, Any]) -> httpcore.HTTPProxy:
    return httpcore.HTTPProxy(str(proxy.url), proxy_auth=proxy.raw_auth, **pool)


class _Network(httpcore.SyncBackend):
    def __init__(self, left: _Left, resolve: Resolve | None) -> None:
        self._left = left
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self._left.seconds(timeout, httpcore.ConnectTimeout)
        if self._resolve is not None:
            host = self._resolve(host, port, left_s)
            left_s = self._left.seconds(timeout, httpcore.ConnectTimeout)
        try:
            stream = super().connect_tcp(host, port, left_s, local_address, socket_options)
        except (UnicodeError, OverflowError) as error:
            raise httpcore.ConnectError("no host or port of the network") from error
        return _Stream(stream, self._left)


@dataclass(frozen=True, slots=True)
class _Stream(httpcore.NetworkStream):
    stream: httpcore.NetworkStream
    left: _Left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self.stream.read(max_bytes, self.left.seconds(timeout, httpcore.ReadTimeout))
        self.left.take(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.left.seconds(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left_s = self.left.seconds(timeout, httpcore.ConnectTimeout)
        return _Stream(self.stream.start_tls(ssl_context, server_hostname, left_s), self.left)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)
