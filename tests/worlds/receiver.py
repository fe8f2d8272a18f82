"""Servers that take events: real ones, which keep what they are sent and answer as the test says."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any


@dataclass(frozen=True)
class Got:
    """A delivery."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def events(self) -> list[dict[str, Any]]:
        document: list[dict[str, Any]] = json.loads(self.body)
        return document

    def is_signed_with(self, secret: str) -> bool:
        """As https://www.standardwebhooks.com says, from its words."""
        key = base64.b64decode(secret.split("_", 1)[1])
        content = self.id.encode() + b"." + self.headers["webhook-timestamp"].encode() + b"." + self.body
        expected = "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        return self.headers["webhook-signature"] == expected


@dataclass
class Receiver:
    """What one has been sent, in order; `status` and `headers` are its answer, once `free` lets it answer."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    answers: bytes = b"ok"
    got: list[Got] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)

    @property
    def subjects(self) -> list[str]:
        return [event["subject"] for got in self.got for event in got.events]


@contextmanager
def receiving(tls: SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.free.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            # Its sender was killed in the midst of it.
            if len(body) < length:
                return
            receiver.got.append(Got(self.path, {name.lower(): text for name, text in self.headers.items()}, body))
            receiver.free.wait()
            self.send_response_only(receiver.status)
            for name, text in {**receiver.headers, "Content-Length": str(len(receiver.answers))}.items():
                self.send_header(name, text)
            # Senders that were told to give up may have gone.
            with suppress(BrokenPipeError, ConnectionResetError):
                self.end_headers()
                self.wfile.write(receiver.answers)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer((host, 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        receiver.url = f"http{'s' if tls else ''}://{'localhost' if tls else host}:{server.server_address[1]}/hook"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.free.set()
            server.shutdown()
            thread.join()
