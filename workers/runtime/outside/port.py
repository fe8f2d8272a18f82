"""The port at which a worker shows its metrics and how it is; whoever reaches it can't use up the worker."""

import asyncio
import re
import socket
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from multiprocessing import current_process, parent_process

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Info, generate_latest

from pgfleet.schema.errors import FleetError

# A request has to be here, and its answer taken, in so long.
ANSWERED_S = 5.0
LONGEST_HEAD = 8 << 10
# The connection that has been open for longest makes room for one more, so that slow ones keep no probe away.
MOST_OPEN = 128
# How many are taken in at once; fewer, so that none makes room before it has been looked at.
TAKEN_IN = 64
# How many the kernel keeps until they are taken in. One more comes again a second later.
BACKLOG = 1024
TEXT = "text/plain; charset=utf-8"

BUILD = Info("pgfleet_build", "What runs here")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a probe shows: problems, by which it fails, and warnings, by which it does not."""

    problems: list[str]
    warnings: list[str] = field(default_factory=list)


Probes = Mapping[str, Callable[[], Shown]]


def serve(host: str, port: int, probes: Probes, fleet: str) -> None:
    """`/metrics` at an address; beside it probes by their paths, which are 503 with the words for their problems.

    `fleet` is told with the version: of several fleets, one may be of another.

    Raises:
        FleetError: the port can't be had.
    """
    listening = _listening(host, port)
    BUILD.info({"version": version("pgfleet"), "fleet": fleet})
    threading.Thread(target=asyncio.run, args=(_serve(listening, probes),), name="port", daemon=True).start()


def port_of_process(port: int) -> int:
    """Of several processes that dramatiq starts, each has the port after that of the one before."""
    # Its workers are its first children, and multiprocessing numbers children in their names: Process-1, Process-2.
    number = re.search(r"\d+\Z", current_process().name) if parent_process() else None
    return port + (int(number[0]) - 1 if number else 0)


def check_ports(host: str, port: int, processes: int) -> None:
    """Raises FleetError unless each of some processes to be started will have its port."""
    for own in range(port, port + processes if port else port):
        _listening(host, own).close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((address[0], port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        raise FleetError(
            f"The port {port} for metrics at {host} can't be had: {error}\n"
            "Give another one with PGFLEET_METRICS_PORT (0 for none) and PGFLEET_METRICS_HOST. Of several processes of "
            "one worker the first has this port, and each of the others the one after."
        ) from None


async def _serve(listening: socket.socket, probes: Probes) -> None:
    opened: dict[StreamWriter, None] = {}  # in the order in which they came
    answer = partial(_answer, probes, opened)
    server = await asyncio.start_server(answer, sock=listening, limit=LONGEST_HEAD, backlog=TAKEN_IN)
    listening.listen(BACKLOG)
    await server.serve_forever()


async def _answer(probes: Probes, opened: dict[StreamWriter, None], reader: StreamReader, writer: StreamWriter) -> None:
    if len(opened) >= MOST_OPEN:
        oldest = next(iter(opened))
        del opened[oldest]
        oldest.transport.abort()
    opened[writer] = None
    try:
        async with asyncio.timeout(ANSWERED_S):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.transport.set_write_buffer_limits(0)  # so that `drain` waits until all is sent
            writer.write(_answered(head, probes))
            await writer.drain()
        writer.close()
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # too slow, too long, or gone
    finally:
        if not writer.is_closing():
            writer.transport.abort()
        opened.pop(writer, None)


def _answered(head: bytes, probes: Probes) -> bytes:
    """The whole answer to a request, of which its first line is read and nothing else."""
    method, path = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "", ""][:2]
    if method != "GET":
        return _written(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"Only GET.\n")
    path = path.partition("?")[0]
    if path == "/metrics":
        return _written(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest())
    if path not in probes:
        return _written(HTTPStatus.NOT_FOUND, TEXT, " ".join(["/metrics", *probes]).encode() + b"\n")
    shown = probes[path]()
    status = HTTPStatus.SERVICE_UNAVAILABLE if shown.problems else HTTPStatus.OK
    warnings = [f"warning: {warning}" for warning in shown.warnings]
    return _written(status, TEXT, "\n".join([*(shown.problems or ["ok"]), *warnings]).encode() + b"\n")


def _written(status: HTTPStatus, content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
