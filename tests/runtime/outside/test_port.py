"""The port of a worker's metrics and probes, as whoever reaches it would use it up."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from pgfleet.schema.errors import FleetError
from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.outside.port import LONGEST_HEAD, MOST_OPEN, Shown, check_ports, serve
from worlds.network.ports import free_port

PATIENCE_S = 20


@pytest.fixture(scope="module")
def port() -> int:
    port = free_port()
    serve(
        "127.0.0.1",
        port,
        {"/livez": lambda: Shown([]), "/readyz": lambda: Shown(["no rights", "no namespace"])},
        "eu-1",
    )
    return port


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def asked(port: int, request: bytes) -> bytes:
    """All that is answered, until the server ends it."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as asking, suppress(ConnectionError):
        asking.sendall(request)
        return b"".join(iter(lambda: asking.recv(65536), b""))
    return b""


@pytest.fixture
def slow(port: int) -> Iterator[list[socket.socket]]:
    """More connections than are held, of which none ends its request."""
    with ExitStack() as held:
        opened = []
        for _ in range(3 * MOST_OPEN):
            opened.append(held.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S)))
            opened[-1].sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        yield opened


def has_ended(each: socket.socket) -> bool:
    each.setblocking(False)
    try:
        return each.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_probes_and_metrics_are_answered(port: int) -> None:
    status, metrics = get(port, "/metrics")

    assert (status, "# TYPE pgfleet_claimed_total counter" in metrics) == (200, True)
    assert get(port, "/livez") == (200, "ok\n")
    assert get(port, "/readyz?verbose") == (503, "no rights\nno namespace\n")
    assert get(port, "/elsewhere") == (404, "/metrics /livez /readyz\n")


def test_slow_connections_keep_no_probe_away_and_take_no_threads(port: int, slow: list[socket.socket]) -> None:
    threads = threading.active_count()

    answers = [get(port, "/livez") for _ in range(20)]

    assert answers == [(200, "ok\n")] * 20
    assert threading.active_count() == threads
    assert sum(not has_ended(each) for each in slow) <= MOST_OPEN


def test_a_request_that_never_ends_is_ended(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgfleet.workers.runtime.outside.port.ANSWERED_S", 0.05)

    assert asked(port, b"GET /livez HTTP/1.1\r\n") == b""


@pytest.mark.parametrize("part", [b"a", b"X: y\r\n"])
def test_a_request_that_is_too_long_is_not_read_on(port: int, part: bytes) -> None:
    assert asked(port, b"GET /livez HTTP/1.1\r\n" + part * 10 * LONGEST_HEAD) == b""


@pytest.mark.parametrize("line", [b"POST /livez HTTP/1.1", b"", b"\xff\xfe", b"GET", b"GET  HTTP/1.1"])
def test_what_is_no_request_of_ours_is_refused(port: int, line: bytes) -> None:
    answer = asked(port, line + b"\r\n\r\n")

    assert answer.split(b" ")[1] in (b"404", b"405")


def test_nobody_but_this_machine_is_let_in_unless_it_is_set() -> None:
    assert Settings().metrics_host == "127.0.0.1"


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "a" * 300])
def test_an_address_that_cant_be_had_is_told(host: str) -> None:
    with pytest.raises(FleetError, match="PGFLEET_METRICS_HOST"):
        check_ports(host, free_port(), 1)
