"""Bodies that are too large, too slow or not as they say, sent to a real server over a real connection."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from pgfleet.producers.http.limits.body import SMALL_BYTES, BodyLimits, Limits
from worlds.fleet import PATIENCE_S, until

LIMITS = Limits(body_bytes=1000, head_bytes=4000, body_timeout_s=PATIENCE_S)


@dataclass
class Served:
    port: int
    # The sizes of the bodies that reached the application.
    reached: list[int] = field(default_factory=list)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.settimeout(PATIENCE_S)
        return connection

    def answer_to(self, *pieces: bytes) -> "Answer":
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return read_answer(connection)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        return str(json.loads(self.body)["type"]).rpartition(":")[2]


def read_answer(connection: socket.socket) -> Answer:
    with connection.makefile("rb") as sent:
        status = int(sent.readline().split()[1])
        lines = list(iter(lambda: sent.readline().strip().decode(), ""))
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(status, headers, sent.read(int(headers["content-length"])))


@contextmanager
def serving(limits: Limits) -> Iterator[Served]:
    listener = socket.create_server(("127.0.0.1", 0))
    served = Served(listener.getsockname()[1])

    async def take(request: Request) -> JSONResponse:
        served.reached.append(len(await request.body()))
        return JSONResponse({"size": served.reached[-1]})

    async def stream(_: Request) -> StreamingResponse:
        async def pieces() -> Any:
            yield b"one"

        return StreamingResponse(pieces(), headers={"Content-Length": "3"})

    app = BodyLimits(Starlette(routes=[Route("/", take, methods=["POST", "GET"]), Route("/stream", stream)]), limits)
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until(lambda: server.started)
    try:
        yield served
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(LIMITS) as served:
        yield served


def head(*lines: str, line: str = "POST / HTTP/1.1") -> bytes:
    return "\r\n".join([line, "Host: here", *lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


CHUNKED = head("Transfer-Encoding: chunked")
END = b"0\r\n\r\n"


def test_what_is_as_large_as_may_be_arrives_whole(served: Served) -> None:
    answer = served.answer_to(head("Content-Length: 1000"), b"x" * 1000)

    assert (answer.status, json.loads(answer.body)) == (200, {"size": 1000})


def test_chunks_arrive_as_one(served: Served) -> None:
    answer = served.answer_to(CHUNKED, *(chunk(b"x" * 100) for _ in range(10)), END)

    assert (answer.status, json.loads(answer.body)) == (200, {"size": 1000})


def test_what_says_that_it_is_too_large_is_refused_before_it_is_sent(served: Served) -> None:
    before = len(served.reached)

    answer = served.answer_to(head("Content-Length: 1001"))

    assert (answer.status, answer.problem, answer.headers["connection"]) == (413, "too-large", "close")
    assert len(served.reached) == before


def test_who_asks_whether_to_go_on_is_told_no(served: Served) -> None:
    answer = served.answer_to(head("Content-Length: 99999999999", "Expect: 100-continue"))

    assert answer.status == 413


def test_chunks_without_an_end_are_refused_at_the_first_byte_too_many(served: Served) -> None:
    before = len(served.reached)

    answer = served.answer_to(CHUNKED, *(chunk(b"x" * 100) for _ in range(11)))

    assert (answer.status, answer.problem) == (413, "too-large")
    assert len(served.reached) == before


def test_a_body_that_is_larger_than_it_said_is_cut_where_it_said(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(head("Content-Length: 4") + b"x" * 5000)
        first = read_answer(connection)

    assert (first.status, json.loads(first.body)) == (200, {"size": 4})


def test_who_sends_little_is_taken_while_others_send_too_much() -> None:
    large, small = SMALL_BYTES * 4, 1000
    with serving(Limits(held_bytes=large)) as served, served.connect() as held:
        held.sendall(head(f"Content-Length: {large + SMALL_BYTES}") + b"x" * large)

        refused = served.answer_to(head(f"Content-Length: {large}"), b"x" * large)
        taken = served.answer_to(head(f"Content-Length: {small}"), b"x" * small)

        assert (refused.status, refused.problem, refused.headers["retry-after"]) == (503, "too-full", "1")
        assert (taken.status, json.loads(taken.body)) == (200, {"size": small})
        held.sendall(b"x" * SMALL_BYTES)
        assert read_answer(held).status == 200
    assert served.reached == [small, large + SMALL_BYTES]


def test_after_a_refusal_nothing_more_is_read(served: Served) -> None:
    before = len(served.reached)

    with served.connect() as connection:
        connection.sendall(head("Content-Length: 1001"))
        read_answer(connection)

        assert connection.recv(1) == b"", "the connection is closed"
    assert len(served.reached) == before


@pytest.mark.parametrize(
    "sent",
    [head("Content-Length: 10") + b"x" * 9, CHUNKED + chunk(b"x"), CHUNKED, head("Content-Length: 1")],
    ids=["one byte less", "a chunk and no end", "no chunk", "nothing"],
)
def test_a_body_that_does_not_come_ends_in_time(sent: bytes) -> None:
    with serving(Limits(body_timeout_s=0.05)) as served:
        answer = served.answer_to(sent)

        assert (answer.status, answer.problem, answer.headers["connection"]) == (408, "too-slow", "close")
        assert served.reached == []


def test_a_byte_now_and_then_does_not_gain_time() -> None:
    with serving(Limits(body_timeout_s=0.2)) as served, served.connect() as connection:
        connection.sendall(head("Content-Length: 1000000"))
        connection.settimeout(0.01)
        answered = until(lambda: _drip(connection))

    assert answered.startswith(b"HTTP/1.1 408")


def _drip(connection: socket.socket) -> bytes:
    connection.sendall(b"x")
    try:
        return connection.recv(65536)
    except TimeoutError:
        return b""


def test_who_goes_away_in_the_middle_leaves_nothing(served: Served) -> None:
    before = len(served.reached)
    with served.connect() as connection:
        connection.sendall(head("Content-Length: 10") + b"x")

    answer = served.answer_to(head("Content-Length: 2"), b"xx")

    assert (answer.status, served.reached[before:]) == (200, [2])


def test_a_request_without_a_body_waits_for_none(served: Served) -> None:
    answer = served.answer_to(head(line="GET / HTTP/1.1"))

    assert (answer.status, json.loads(answer.body)) == (200, {"size": 0})


def test_what_is_streamed_comes_through(served: Served) -> None:
    assert served.answer_to(head(line="GET /stream HTTP/1.1")).body == b"one"


def test_one_connection_serves_one_request_after_the_other(served: Served) -> None:
    with served.connect() as connection:
        sizes = []
        for size in (10, 20):
            connection.sendall(head(f"Content-Length: {size}") + b"x" * size)
            sizes.append(json.loads(read_answer(connection).body)["size"])

    assert sizes == [10, 20]


@pytest.mark.parametrize(
    "sent",
    [
        head("X-Long: " + "x" * 4000, line="GET / HTTP/1.1"),
        head(*(f"X-{number}: x" for number in range(120)), line="GET / HTTP/1.1"),
        head(line=f"GET /?{'x' * 4000} HTTP/1.1"),
    ],
    ids=["a long one", "many", "a long address"],
)
def test_headers_have_a_bound(served: Served, sent: bytes) -> None:
    answer = served.answer_to(sent)

    assert (answer.status, answer.problem) == (431, "too-large")


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: x",),
        ("Content-Length: -1",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 1_0",),
    ],
)
def test_what_can_be_read_in_two_ways_reaches_nobody(served: Served, lines: tuple[str, ...]) -> None:
    before = len(served.reached)

    with served.connect() as connection:
        connection.sendall(head(*lines) + b"0\r\n\r\n")
        said = connection.recv(65536)

    assert said.startswith(b"HTTP/1.1 400")
    assert len(served.reached) == before
