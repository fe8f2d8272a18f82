"""A server that answers as no server should: byte for byte what a test gives it, and for as long as it likes."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedIOBase
from socketserver import StreamRequestHandler, ThreadingTCPServer

MIB = 1024 * 1024
Write = Callable[[bytes], object]


@dataclass
class Hostile:
    """`asked` holds what it was sent, up to the empty line."""

    url: str = ""
    answer: Callable[[Write, threading.Event], object] = lambda _write, _closing: None
    asked: list[bytes] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def says(self, body: bytes, *headers: str, status: str = "200 OK") -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        whole = "\r\n".join([*lines, "", ""]).encode() + body
        self.answer = lambda write, _: write(whole)


@contextmanager
def hostile_server() -> Iterator[Hostile]:
    hostile = Hostile()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            # Who asks may go at any time.
            with suppress(OSError):
                while request := _request(self.rfile):
                    hostile.asked.append(request)
                    hostile.answer(self.wfile.write, hostile.closing)

    class Server(ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        hostile.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield hostile
        finally:
            hostile.closing.set()
            server.shutdown()


def _request(sent: BufferedIOBase) -> bytes:
    lines = []
    while (line := sent.readline(65536)) not in (b"", b"\r\n"):
        lines.append(line)
    return b"".join(lines)


def drips(text: bytes, pause_s: float = 0.02) -> Callable[[Write, threading.Event], None]:
    """A byte now and then."""

    def answer(write: Write, closing: threading.Event) -> None:
        for byte in text:
            write(bytes([byte]))
            if closing.wait(pause_s):
                return

    return answer


def endless(head: bytes, piece: bytes) -> Callable[[Write, threading.Event], None]:
    """As fast as they are taken."""

    def answer(write: Write, closing: threading.Event) -> None:
        write(head)
        while not closing.is_set():
            write(piece)

    return answer


def bomb(mib: int = 64) -> bytes:
    """A little gzip of so many MiB."""
    return gzip.compress(bytes(mib * MIB), 9)


def deep(levels: int) -> bytes:
    return json.dumps({"items": []}).encode().replace(b"[]", b"[" * levels + b"]" * levels)
