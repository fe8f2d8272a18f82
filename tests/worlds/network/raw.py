"""HTTP as bytes, for what no client would send."""

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from worlds.fleet import PATIENCE_S


@dataclass(frozen=True)
class Answer:
    """What came back, its headers in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, received: bytes) -> "Answer":
        said, _, body = received.partition(b"\r\n\r\n")
        first, *lines = said.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return cls(int(first.split()[1]), headers, body)


def connected(url: str, *, receive_bytes: int | None = None) -> socket.socket:
    """A connection to a server at an http:// address."""
    place = urlsplit(url)
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(PATIENCE_S)
    connection.connect((place.hostname, place.port))
    return connection


def head(line: str, *lines: str | bytes) -> bytes:
    """A request's first line and its headers, with the empty line after them."""
    every = [f"{line} HTTP/1.1", "Host: here", *lines, "", ""]
    return b"\r\n".join(each if isinstance(each, bytes) else each.encode("latin-1") for each in every)


def read_answer(connection: socket.socket) -> Answer:
    """One answer with a length, and nothing of what follows it."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    answer = Answer.of(received)
    while len(answer.body) < int(answer.headers["content-length"]):
        received += _more(connection)
        answer = Answer.of(received)
    return answer


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    assert received, "the server has closed the connection without an answer"
    return received
