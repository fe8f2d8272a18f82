"""What the API asks of who asks too often, and what a command does where something else answers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pgfleet.console.remote.client import LONGEST_WAIT_S, TRIES
from worlds.api.server import api_on
from worlds.commands import Pgfleet


@contextmanager
def answering(status: int, content_type: str, body: bytes) -> Iterator[str]:
    """A server that gives one answer to all."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_who_has_asked_too_often_waits_as_told_and_not_for_ever(
    nobody: Pgfleet, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many tries, each after as long as the API says; what it waits for is shown."""
    waited: list[float] = []
    with api_on(dsn, requests_per_s=0.02, requests_burst=1) as api:
        monkeypatch.setenv("PGFLEET_URL", api.url)
        monkeypatch.setenv("PGFLEET_KEY", api.key_of("ada"))
        monkeypatch.setattr("pgfleet.console.remote.client.time.sleep", waited.append)
        nobody("whoami")

        ended = nobody("whoami")

    assert ended.code == 1
    assert len(waited) == TRIES - 1
    assert all(1 <= each <= LONGEST_WAIT_S for each in waited)
    assert f"{api.url} asks to wait" in ended.err


@pytest.mark.parametrize(
    ("status", "content_type", "body", "said"),
    [
        (200, "text/html", b"<html>", "is no API of pgfleet"),
        (200, "application/json", b"{}", "is no API of pgfleet"),
        (200, "application/json", b"[]", "is no API of pgfleet"),
        (200, "application/json", b"null", "is no API of pgfleet"),
        (200, "application/json", b"[" * 5_000, "is no API of pgfleet"),
        (200, "application/json", b'{"x": ' + b"[" * 500 + b"]" * 500 + b"}", "is no API of pgfleet"),
        (200, "application/json", b" " * 5_001, "has more than"),
        (502, "text/html", b"<html>", "answers with status 502"),
        (404, "text/html", b"<html>", "answers with status 404"),
        (500, "application/problem+json", b"[1]", "answers with status 500"),
    ],
    ids=lambda part: str(part)[:30],
)
def test_what_is_no_api_is_told_so(  # one parameter a part of the answer
    nobody: Pgfleet, status: int, content_type: str, body: bytes, said: str
) -> None:
    """A proxy's page, or another program at this address."""
    nobody.monkeypatch.setattr("pgfleet.console.remote.answers.MOST_BYTES", 5_000)
    with answering(status, content_type, body) as url:
        nobody.monkeypatch.setenv("PGFLEET_URL", url)
        nobody.monkeypatch.setenv("PGFLEET_KEY", "k" * 86)
        ended = nobody("whoami")

    assert (ended.code, said in ended.err) == (2, True), ended.err
