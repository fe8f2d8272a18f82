"""`pgfleet serve`: one process that answers, until it is asked to end."""

import asyncio
import json
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from math import ceil
from pkgutil import walk_packages
from typing import Any

import uvicorn
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pgfleet.producers.http.answering import Desk
from pgfleet.producers.http.answers.responses import JSON
from pgfleet.producers.http.application import Beside, application, nothing_beside
from pgfleet.producers.http.endpoint import Endpoint
from pgfleet.producers.http.events.limits import PACE as STREAMED
from pgfleet.producers.http.events.limits import Pace as Streaming
from pgfleet.producers.http.health.ending import Ending
from pgfleet.producers.http.health.probes import probes
from pgfleet.producers.http.limits.patience import PatientProtocol
from pgfleet.producers.http.openapi.asyncapi import document as of_queues
from pgfleet.producers.http.openapi.document import document
from pgfleet.schema.errors import FleetError

PACKAGE = "pgfleet.producers.http.endpoints"
KEEP_ALIVE_S = 30
BACKLOG = 2048


def endpoints() -> tuple[Endpoint, ...]:
    """All that there are: of each file and each folder's, in the order of their names."""
    room = import_module(PACKAGE)
    found = sorted(each.name for each in walk_packages(room.__path__, f"{PACKAGE}.") if not each.ispkg)
    loaded = (import_module(name) for name in found)
    return tuple(each for module in loaded for each in module.ENDPOINTS)


@dataclass(frozen=True, slots=True)
class Pace:
    """How it ends in time.

    Attributes:
        notice_s: how long whoever comes is still taken, once it is not ready.
        drain_s: what is open so long after that is given up.
    """

    notice_s: float = 0.0
    drain_s: float = 10.0


PACE = Pace()


class Server(uvicorn.Server):
    """Ends in order: not ready and no streams any more, then nobody new, and at last when all is answered."""

    def __init__(self, config: uvicorn.Config, ending: Ending, notice_s: float) -> None:
        super().__init__(config)
        self._ending = ending
        self._notice_s = notice_s

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """They ask the `Ending`."""
        yield

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._ending.is_asked

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Whoever sends requests here has a moment to see that it is not ready."""
        self._ending.begin()
        await asyncio.sleep(self._notice_s)
        await super().shutdown(sockets)


@dataclass(frozen=True)
class Served:
    """A socket that listens, and what is answered there."""

    listening: socket.socket
    server: uvicorn.Server

    @property
    def url(self) -> str:
        host, port = self.listening.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> None:
        """Until the end is asked for."""
        self.server.run(sockets=[self.listening])


def listen(host: str, port: int) -> socket.socket:
    """Raises FleetError where the address can't be had."""
    try:
        family, *_, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((address[0], port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        raise FleetError(f"The port {port} at {host} can't be had: {error}\nGive another one with --port.") from None


@contextmanager
def served(app: ASGIApp, host: str, port: int, ending: Ending, pace: Pace = PACE) -> Iterator[Served]:
    """What `run` answers with; the socket is closed at the end of the block.

    Raises:
        FleetError: the address can't be had.
    """
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=ceil(pace.drain_s),
        backlog=BACKLOG,
        h11_max_incomplete_event_size=64 << 10,
        # Who a proxy speaks for is `limits/proxies.py`'s to say.
        proxy_headers=False,
        ws="none",
    )
    with listen(host, port) as listening:
        yield Served(listening, Server(config, ending, pace.notice_s))


def made(desk: Desk, pace: Streaming = STREAMED, beside: Beside = nothing_beside) -> ASGIApp:
    """The application with all endpoints, and their document; `beside` is what else is served, as the dashboard."""
    documents = [_route(path, content) for path, content in _documents().items()]
    return application(desk, endpoints(), [*documents, *probes(desk.readiness)], pace, beside)


@cache
def _documents() -> dict[str, bytes]:
    """By path; to make them takes as long as all the rest of a start."""
    made = {"/openapi.json": document(endpoints(), version("pgfleet")), "/asyncapi.json": of_queues(version("pgfleet"))}
    return {path: json.dumps(content, indent=1).encode() for path, content in made.items()}


def _route(path: str, described: bytes) -> Route:
    async def answer(_: Any) -> Response:  # what is no coroutine would be run in a thread
        return Response(described, media_type=JSON)

    return Route(path, answer)
