"""Clients that say or take something slowly, or no HTTP at all, on connections of their own."""

import json
import socket
import struct

import pytest

from pgfleet.producers.http.limits.patience import PatientProtocol
from worlds.api.server import Api
from worlds.fleet import PATIENCE_S, until
from worlds.network.raw import Answer, connected, head, read_answer

SHORT_S = 0.3


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "head_s", SHORT_S)
    monkeypatch.setattr(PatientProtocol, "taken_s", SHORT_S)


def dripped(api: Api, *, first: bytes = b"") -> Answer:
    """The answer to a head that comes byte by byte, and never to its end."""
    with connected(api.url) as connection:
        connection.sendall(first)
        if first:
            read_answer(connection)
        connection.setblocking(False)  # as socket has it
        answered = _drip(connection)
        return Answer.of(answered)


def _drip(connection: socket.socket) -> bytes:
    """A byte whenever nothing has come."""
    connection.send(b"GET /v1/me HTTP/1.1\r\nX-Long: ")

    def answered() -> bytes | None:
        try:
            return connection.recv(65536)
        except BlockingIOError:
            connection.send(b"x")
            return None

    return until(answered) or b""


@pytest.mark.usefixtures("impatient")
def test_a_head_that_comes_a_byte_at_a_time_ends(api: Api) -> None:
    """Also after a request on the same connection, when uvicorn's own limit is called off by the first byte."""
    first = dripped(api)
    later = dripped(api, first=head("GET /openapi.json"))

    assert (first.status, later.status) == (408, 408)
    assert json.loads(first.body)["type"] == "urn:pgfleet:problem:too-slow"


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_says_nothing_ends(api: Api) -> None:
    with connected(api.url) as connection:
        assert read_answer(connection).status == 408
        assert connection.recv(1) == b""


@pytest.mark.usefixtures("impatient")
def test_a_request_that_takes_longer_than_its_head_may_is_answered(api: Api) -> None:
    """The head is here, so its time is over: what the answer takes is another matter."""
    reservation = _asked(api)
    with connected(api.url) as connection:
        connection.sendall(head(f"GET {reservation}?wait=1", f"Authorization: Bearer {api.key_of('ada')}"))

        assert read_answer(connection).status == 200


def _asked(api: Api) -> str:
    with api.as_user("ada") as ada:
        return ada.post("/v1/reservations", json={"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}).headers[
            "Location"
        ]


@pytest.mark.usefixtures("impatient")
def test_who_takes_nothing_of_an_answer_loses_the_connection(api: Api) -> None:
    """Megabytes of answers are asked for on one connection, and none is read."""
    with connected(api.url, receive_bytes=4096) as connection:
        connection.settimeout(PATIENCE_S)
        with pytest.raises(OSError, match=r"reset|pipe"):
            _ask_for_ever(connection)


def _ask_for_ever(connection: socket.socket) -> None:
    while True:
        connection.sendall(head("GET /openapi.json") * 20)


def test_what_is_no_http_is_told_so_and_nothing_else(api: Api) -> None:
    with connected(api.url) as connection:
        connection.sendall(b"\x16\x03\x01 hello \x1b[31m\r\n\r\n")
        answer = read_answer(connection)

    assert (answer.status, json.loads(answer.body)["type"]) == (400, "urn:pgfleet:problem:bad-request")
    assert b"hello" not in answer.body


def test_connections_beyond_what_is_taken_are_told_to_come_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "most", 3)
    held = [connected(api.url) for _ in range(3)]
    try:
        for each in held:
            each.sendall(head("GET /openapi.json"))
            read_answer(each)
        with connected(api.url) as one_more:
            answer = read_answer(one_more)
    finally:
        for each in held:
            each.close()

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    "lines",
    [
        ("POST /v1/sessions", "Content-Length: 10485760"),
        ("POST /v1/sessions", "Transfer-Encoding: chunked"),
    ],
    ids=["its length says so", "in chunks"],
)
def test_ten_megabytes_are_not_taken(api: Api, lines: tuple[str, str]) -> None:
    with connected(api.url) as connection:
        connection.sendall(head(lines[0], "Content-Type: application/json", lines[1]))
        for _ in range(160):
            piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            try:
                connection.sendall(piece)
            except OSError:
                break
        assert read_answer(connection).status == 413


@pytest.mark.parametrize("encoding", ["gzip", "br", "x-gzip", "identity, gzip"])
def test_what_is_compressed_is_not_unpacked(api: Api, encoding: str) -> None:
    """A thousand bytes could be a gigabyte."""
    with api.as_user("ada") as ada:
        answer = ada.post(
            "/v1/reservations",
            content=b"\x1f\x8b" + b"\0" * 100,
            headers={"Content-Type": "application/json", "Content-Encoding": encoding},
        )

    assert answer.status_code in {400, 415}


def test_a_connection_that_is_reset_in_mid_request_leaves_nothing(api: Api) -> None:
    """What was not whole is not done, and the next one is answered."""
    for _ in range(20):
        connection = connected(api.url)
        key = f"Authorization: Bearer {api.key_of('ada')}"
        connection.sendall(head("POST /v1/reservations", key, "Content-Type: application/json", "Content-Length: 90"))
        connection.sendall(b'{"gpu_type": "h100"')
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with api.as_user("ada") as ada:
        assert ada.get("/v1/me").status_code == 200
    assert api.conn.execute("select count(*) from public.reservations").fetchone() == (0,)
