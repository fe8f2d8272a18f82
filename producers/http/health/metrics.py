"""What the API counts, for Prometheus; no label takes a value that whoever asks can choose."""

import time
from functools import cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Where an endpoint says its name, for who counts.
ENDPOINT = "pgfleet.endpoint"
NO_ENDPOINT = "other"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

REQUESTS = Counter("pgfleet_http_requests", "Requests, by endpoint and class of status", ["endpoint", "status"])
DURATION = Histogram(
    "pgfleet_http_request_seconds", "From a request's headers to the first of its answer", ["endpoint"], buckets=SECONDS
)
STREAMS = Gauge("pgfleet_http_streams", "Streams of events that are open")
SESSIONS = Gauge("pgfleet_http_sessions_in_use", "Sessions of the database that answer a request now")
BATCHES = Histogram("pgfleet_http_heartbeat_batch", "Heartbeats that went to the queue as one batch", buckets=SIZES)
WAITING = Gauge("pgfleet_http_heartbeats_waiting", "Heartbeats that wait for their batch, or for its answer")
STRANGERS = Counter("pgfleet_http_strangers_refused", "Requests without a proof that holds", ["reason"])


class Measured:
    """An ASGI middleware: each request once, by the name of its endpoint."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, answered = time.monotonic(), False

        async def counted(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start" and not answered:
                answered = True
                _count(scope, f"{message['status'] // 100}xx", time.monotonic() - began)
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:
            if not answered:
                _count(scope, "gone", None)


def _count(scope: Any, status: str, lasted_s: float | None) -> None:
    requests, duration = _counted(scope.get(ENDPOINT, NO_ENDPOINT), status)
    requests.inc()
    if lasted_s is not None:
        duration.observe(lasted_s)


@cache
def _counted(endpoint: str, status: str) -> tuple[Counter, Histogram]:
    """There are as many as endpoints and classes of status; to look them up takes longer than to count."""
    return REQUESTS.labels(endpoint, status), DURATION.labels(endpoint)
