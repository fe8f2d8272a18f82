"""Clients of HTTP that cost little: all connections in one thread, as what asks shares its cores with what is asked."""

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

DEADLINE_S = 60
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "


@dataclass
class Client:
    """One user on one connection that is kept.

    Attributes:
        rows: ids of the user's own.
        accepted: of what was made for it.
        asked: what it wants to find in the answer.
    """

    user: str
    key: str
    rows: list[str]
    port: int
    accepted: list[str] = field(default_factory=list)
    asked: str = ""
    _socket: socket.socket | None = None
    _received: bytearray = field(default_factory=bytearray)

    def head(self, line: str, length: int = 0) -> bytes:
        more = f"Content-Type: application/json\r\nContent-Length: {length}\r\n" if length else ""
        return f"{line} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {self.key}\r\n{more}\r\n".encode()

    def connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def close(self) -> None:
        """Whoever asks nothing for half a minute is closed by the server."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def answer(self) -> bytes | None:
        """The body of what was asked, once it is here whole; what comes may not be more than that."""
        received = self.connected().recv(1 << 18)
        assert received, "the server has closed the connection"
        self._received += received
        end = self._received.find(HEAD_END)
        if end < 0:
            return None
        at = self._received.lower().find(LENGTH, 0, end) + len(LENGTH)
        length = int(self._received[at : self._received.find(b"\r", at)])
        if len(self._received) < end + len(HEAD_END) + length:
            return None
        answered, self._received = bytes(self._received), bytearray()
        assert answered[9:12] in {b"200", b"202"}, answered
        return answered[end + len(HEAD_END) :]


@dataclass(frozen=True)
class Way:
    """A sort of request: `made` writes one for a client, `check` looks at the body of its answer."""

    number: int
    made: Callable[[Client], bytes]
    check: Callable[[Client, bytes], object]


def closed(clients: Sequence[Client], way: Way, number: int) -> float:
    """Each client asks as soon as it is answered; the seconds until all have been."""
    each = number // len(clients)
    began_s = time.perf_counter()
    _ask(clients, way, [[began_s] * each for _ in clients])
    return time.perf_counter() - began_s


def paced(clients: Sequence[Client], way: Way, per_s: float) -> list[float]:
    """Milliseconds from when each should have been asked, whatever held up the one before."""
    each, begin_s = way.number // len(clients) // 2, time.perf_counter() + 0.1
    step_s = len(clients) / per_s
    dues = [[begin_s + first / per_s + number * step_s for number in range(each)] for first, _ in enumerate(clients)]
    return _ask(clients, way, dues)


def _ask(clients: Sequence[Client], way: Way, dues: list[list[float]]) -> list[float]:
    """Of each client its requests in turn, none before it is due; how long after that each was answered."""
    waited: list[float] = []
    # What is to come of each, the next one last.
    idle = {number: due[::-1] for number, due in enumerate(dues) if due}
    asking: dict[int, list[float]] = {}
    with selectors.DefaultSelector() as selector:
        for number, client in enumerate(clients):
            selector.register(client.connected(), selectors.EVENT_READ, number)
        while idle or asking:
            now_s = time.perf_counter()
            for number in [number for number, due in idle.items() if due[-1] <= now_s]:
                clients[number].connected().sendall(way.made(clients[number]))
                asking[number] = idle.pop(number)
            next_s = min((due[-1] for due in idle.values()), default=now_s + DEADLINE_S)
            answered = selector.select(max(0.0, next_s - time.perf_counter()))
            assert answered or idle, "nothing is answered any more"
            for key, _ in answered:
                body = clients[key.data].answer()
                if body is not None:
                    way.check(clients[key.data], body)
                    left = asking.pop(key.data)
                    waited.append((time.perf_counter() - left.pop()) * 1000)
                    if left:
                        idle[key.data] = left
    for client in clients:
        client.close()
    return waited
