"""Control characters, line breaks and halves of characters wherever text can be: none comes out again as it went in."""

import json

import pytest
from structlog.testing import capture_logs

from worlds.api.server import Api
from worlds.network.raw import connected, head, read_answer

ASKED = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 2}
PATHS = (
    "/v1/reservations/x%0d%0aSet-Cookie:%20a=b",
    "/v1/reservations/%00",
    "/v1/reservations/%ff%fe",
    "/v1/reservations/%1b[31m",
    "/v1/reservations/" + "a" * 3000,
    "/v1/reservations/..%2f..%2fetc%2fpasswd",
    "/v1/reservations/%25%27%20or%201=1--",
    "/v1/users/1%00",
    "/v1/disks/%0d%0a",
    "//evil.example.org/..",
)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_in_a_path_is_never_a_header_nor_a_mistake(shared: Api, path: str) -> None:
    with connected(shared.url) as connection:
        connection.sendall(head(f"GET {path}", f"Authorization: Bearer {shared.key_of('ada')}"))
        answer = read_answer(connection)

    assert 400 <= answer.status < 500
    assert not {"set-cookie", "location"} & answer.headers.keys()
    assert json.loads(answer.body)["status"] == answer.status


@pytest.mark.parametrize(
    "line",
    [
        b"Idempotency-Key: a\rb",
        b"Idempotency-Key: a\0b",
        b"Idempotency-Key: \xff\xfe",
        b"Idempotency-Key: " + b"k" * 201,
        b"If-None-Match: \x01",
        b"Last-Event-ID: \x1b[0m",
        b"Authorization: Bearer \xe2\x80\xae",
        b"X-Forwarded-For: 1.1.1.1\x0b, evil",
    ],
)
def test_headers_with_anything_in_them_are_answered(shared: Api, line: bytes) -> None:
    """With a problem or without, and never by a mistake of ours."""
    body = json.dumps(ASKED).encode()
    own = [] if line.startswith(b"Authorization") else [f"Authorization: Bearer {shared.key_of('ada')}"]
    with connected(shared.url) as connection:
        connection.sendall(
            head("POST /v1/reservations", *own, "Content-Type: application/json", f"Content-Length: {len(body)}", line)
        )
        connection.sendall(body)
        answer = read_answer(connection)

    assert answer.status in {202, 400, 401}
    assert answer.headers.get("location", "/v1/").startswith("/v1/")


def test_the_audit_and_the_log_hold_no_control_characters_of_a_client(api: Api) -> None:
    """The agent, the address and the path are a stranger's words."""
    lines = (
        b"User-Agent: " + b"x\x1b[31m\x08\x7f\x85",
        b"X-Forwarded-For: 9.9.9.9\x1b[31m",
    )
    body = json.dumps({**ASKED, "user_id": "mallory"}).encode()
    with capture_logs() as logs, connected(api.url) as connection:
        key = f"Authorization: Bearer {api.key_of('ada')}"
        connection.sendall(
            head(
                "POST /v1/reservations",
                key,
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                *lines,
            )
        )
        connection.sendall(body)
        answer = read_answer(connection)

    rows = api.conn.execute("select row_to_json(a)::text from autoscaler.audit_logs a").fetchall()
    assert answer.status in {400, 403}
    assert all(text.isprintable() for (text,) in rows)
    assert "\\u001b" not in str(rows)
    assert json.dumps(logs, default=str).isascii()
    assert "\\u001b" not in json.dumps(logs, default=str)


def test_two_of_what_may_be_there_once_are_not_chosen_from(api: Api) -> None:
    """A proxy may have looked at the other one."""
    with connected(api.url) as connection:
        connection.sendall(
            head("GET /v1/me", f"Authorization: Bearer {api.key_of('ada')}", "Authorization: Bearer of-somebody-else")
        )
        assert read_answer(connection).status == 400


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: +5",),
        ("Transfer-Encoding: chunked, chunked",),
        ("Transfer-Encoding: xchunked",),
        (" Content-Length: 5",),
        ("Content-Length : 5",),
    ],
)
def test_a_request_that_two_servers_could_read_differently_is_refused(shared: Api, lines: tuple[str, ...]) -> None:
    """What would be a second request to another server is not answered here, and the connection ends."""
    smuggled = head("GET /v1/me", f"Authorization: Bearer {shared.key_of('ada')}")
    with connected(shared.url) as connection:
        connection.sendall(head("POST /v1/reservations", "Content-Type: application/json", *lines))
        connection.sendall(b"0\r\n\r\n" + smuggled)
        received, was_reset = b"", False
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            # It ended with the second request unread, which may take the answer with it.
            was_reset = True

    statuses = [line.split()[1] for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1")]
    assert statuses or was_reset
    assert set(statuses) <= {b"400", b"401", b"501"}
