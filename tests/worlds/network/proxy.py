"""A TCP proxy between workers and a server: it can lead elsewhere, be silent, and break off."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict


class Proxy:
    """An address that stays. While `flowing` is unset it takes connections and bytes, and passes nothing on.

    `target` is the connection string of the server that new connections go to; those that are open stay where they are.
    Connections are known by what is said on them: `known` has those that have said each of some words.
    """

    def __init__(self, target: str, words: Sequence[bytes] = ()) -> None:
        self.target = target
        self.known: dict[bytes, set[socket.socket]] = {word: set() for word in words}
        self.flowing = threading.Event()
        self.flowing.set()
        self.refused = 0  # connections, as the target took none
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._open: list[socket.socket] = []
        self._silent: set[socket.socket] = set()
        threading.Thread(target=self._take, daemon=True).start()

    @property
    def dsn(self) -> str:
        said, port = conninfo_to_dict(self.target), self._listening.getsockname()[1]
        return f"postgresql://{said.get('user', '')}:{said.get('password', '')}@127.0.0.1:{port}/{said['dbname']}"

    def silence(self, word: bytes | None = None) -> int:
        """Open connections pass nothing on any more, for ever; new ones do. All, or those that have said a word.

        How many ends of connections these are.
        """
        ends = set(self._open) if word is None else set(self.known[word])
        self._silent |= ends
        return len(ends)

    def close(self) -> None:
        for end in (self._listening, *self._open):
            _break(end)
        self.flowing.set()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        _at_once(near)
        self._open.append(near)
        self.flowing.wait()
        try:
            far = connected_to(self.target)
        except OSError:
            self.refused += 1
            _break(near)
            return
        self._open.append(far)
        threading.Thread(target=self._pass, args=(near, far), daemon=True).start()
        self._pass(far, near)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                for word, ends in self.known.items():
                    if word in data:
                        ends.update((source, target))
                self.flowing.wait()
                if source not in self._silent:
                    target.sendall(data)
        if source not in self._silent:
            _break(target)


def connected_to(dsn: str) -> socket.socket:
    """A bare connection to a server, which may be at a port or a socket in a folder."""
    where = conninfo_to_dict(dsn)
    host, port = str(where["host"]), int(where.get("port") or 5432)
    if not host.startswith("/"):
        return _at_once(socket.create_connection((host, port)))
    near = socket.socket(socket.AF_UNIX)
    near.connect(f"{host}/.s.PGSQL.{port}")
    return near


def _at_once(end: socket.socket) -> socket.socket:
    """As PostgreSQL and its clients send themselves: each small answer would wait up to 40 ms for the other side's."""
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return end


def _break(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def proxy_to(dsn: str, words: Sequence[bytes] = ()) -> Iterator[Proxy]:
    proxy = Proxy(dsn, words)
    try:
        yield proxy
    finally:
        proxy.close()
