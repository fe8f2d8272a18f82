"""Whoever subscribes may lead anywhere and answer anything: nothing of our network is reached, and every try ends."""

import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pgfleet.workers.clients.webhooks import posting
from pgfleet.workers.clients.webhooks.posting import Answer, delivering
from pgfleet.workers.clients.webhooks.reach import REFUSED, Reach
from worlds.network.certificates import certificate
from worlds.network.hostile import MIB, Hostile, Write, bomb, drips, endless, hostile_server
from worlds.receiver import receiving

OURS = Reach.of(["127.0.0.1"])
PART_S = 0.3
# A machine that is busy takes its time, and no try lasts for ten times what it may.
ENDS_S = 20 * PART_S
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setattr(posting, "PART_S", PART_S)
    with hostile_server() as server:
        yield server


def post(reach: Reach, url: str) -> Answer:
    with delivering(reach) as webhooks:
        return webhooks.post(url, b"[]", "application/json", {"webhook-id": "msg_1"})


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Each time that a name is asked for, the next of these; the names that were."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **more: Any) -> list[Any]:
        if host not in NAMES:
            return list(real(host, port, *rest, **more))
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append(str(host))
        found = [real(address, port, *rest, **more) for address in addresses]
        return [place for places in found for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


NAME = "receiver.example.org"
NAMES = (NAME, NAME.encode())


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "017700000001", "0x7f000001", "0177.0.0.1", "0x7f.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0"),  # noqa: S104
        *("localhost", "localhost.", "LOCALHOST", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
        *("[::7f00:1]", "[fe80::1]", "[fc00::1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]"),
        *("[2001:0:7f00:1::]", "169.254.169.254", "2852039166", "0xa9fea9fe", "100.64.0.1", "10.0.0.1", "192.168.0.1"),
        *("172.16.0.1", "224.0.0.1", "255.255.255.255", "[ff02::1]", "127。0。0。1", "①②⑦.0.0.1"),
    ],
)
def test_however_it_is_written_nothing_of_our_network_is_reached(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one packet is sent there."""
    connected: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *given, **_: connected.append(given))

    answer = post(Reach(), f"https://{host}/latest/meta-data")

    assert answer.status is None
    assert answer.words.removeprefix("url: ") in (REFUSED, "its name has no address", "no client can read it")
    assert connected == []


@pytest.mark.parametrize(
    "url",
    [
        *(r"https://receiver.example.org\@127.0.0.1/", "https://127.0.0.1#@receiver.example.org/"),
        *("https://receiver.example.org@127.0.0.1/", "https://127.0.0.1:443@receiver.example.org/"),
        *("https://receiver.example.org:22/", "https://receiver.example.org:6443/", "http://receiver.example.org/"),
        *("https://receiver.example.org:443:22/", "https://receiver.example.org\n127.0.0.1/", "gopher://receiver/"),
        *("https://receiver.example.org:-443/", "https:receiver.example.org", "//receiver.example.org/"),
    ],
)
def test_what_two_readers_read_differently_leads_nowhere(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names before an address, other ports, other schemes."""
    connected: list[object] = []
    resolving(monkeypatch, ["127.0.0.1"])
    monkeypatch.setattr(socket, "create_connection", lambda *given, **_: connected.append(given))

    assert post(Reach(), url).status is None
    assert connected == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["8.8.8.8", "127.0.0.1"],
        ["10.0.0.1", "8.8.8.8"],
        ["2606:4700::1111", "::1"],
        ["8.8.8.8", "::ffff:169.254.169.254"],
        ["fd00:ec2::254"],
        ["64:ff9b::a9fe:a9fe"],
    ],
)
def test_a_name_with_one_address_of_ours_leads_nowhere(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else it has."""
    connected: list[object] = []
    resolving(monkeypatch, addresses)
    monkeypatch.setattr(socket, "create_connection", lambda *given, **_: connected.append(given))

    assert post(Reach(), f"https://{NAME}/x") == Answer(None, REFUSED)
    assert connected == []


def test_a_name_that_leads_elsewhere_after_it_was_checked_is_connected_to_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The trap behind its second answer hears nothing."""
    with receiving(host="127.0.0.2") as checked:
        port = int(checked.url.rsplit(":", 1)[1].split("/")[0])
        asked = resolving(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
        with socket.create_server(("127.0.0.1", port)) as trap, delivering(Reach.of(["127.0.0.2/32"])) as webhooks:
            trap.settimeout(0.2)
            status = webhooks.http.post(f"http://{NAME}:{port}/x", content=b"[]").status_code
            with pytest.raises(TimeoutError):
                trap.accept()

    assert (status, len(checked.got), len(asked)) == (200, 1, 1)


def test_a_name_that_changes_between_two_deliveries_is_checked_at_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was public once may not be."""
    resolving(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    reach = Reach.of(["127.0.0.2/32"])

    assert reach.resolve(NAME, 443, 5) == "127.0.0.2"
    with pytest.raises(Exception, match=REFUSED):
        reach.resolve(NAME, 443, 5)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_leads_into_our_network(status: int) -> None:
    """It is not followed, wherever it leads."""
    with receiving() as metadata, receiving() as receiver:
        receiver.status, receiver.headers = status, {"Location": metadata.url, "Refresh": f"0; url={metadata.url}"}
        answer = post(OURS, receiver.url)

    assert answer == Answer(status, f"{status}, and redirects are not followed")
    assert metadata.got == []


@pytest.mark.parametrize(
    ("days", "known", "words"),
    [
        (1, False, "its certificate is of no authority that is known here"),
        (-1, True, "its certificate has expired"),
    ],
)
def test_who_shows_no_good_certificate_is_sent_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, *, known: bool, words: str
) -> None:
    """And its subscriber learns what is wrong with it."""
    pem, context = certificate(tmp_path, days)
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with receiving(context) as receiver:
        answer = post(Reach.of(["localhost"]), receiver.url)

    assert (answer, receiver.got) == (Answer(None, words), [])


def test_who_speaks_no_tls_where_https_was_said_is_sent_nothing(hostile: Hostile) -> None:
    """Not even the first line of a request."""
    hostile.answer = endless(OK, b"x")

    answer = post(OURS, hostile.url.replace("http:", "https:"))

    assert answer.words in ("no connection by TLS", "no connection in time")
    assert not any(b"POST" in asked for asked in hostile.asked)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (endless(OK, b"X-Header: " + b"x" * 8000 + b"\r\n"), "its answer is too long"),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "its answer is too long"),
        (endless(b"", b"x"), "its answer is no HTTP, or too long"),
        (drips(OK * 100, pause_s=0.01), "its answer is no HTTP, or too long"),
        (lambda _, closing: closing.wait(), "no answer in time"),
        (lambda *_: 1 / 0, "its answer is no HTTP, or too long"),
    ],
)
def test_an_answer_that_is_none_ends(hostile: Hostile, answers: Callable[[Write, Event], object], words: str) -> None:
    """In time, after so many bytes, and in words."""
    hostile.answer = answers
    begun_at = time.monotonic()

    answer = post(OURS, hostile.url)

    assert answer in (Answer(None, words), Answer(None, "no answer in time"))
    assert time.monotonic() - begun_at < ENDS_S


@pytest.mark.parametrize(
    "answers",
    [
        endless(OK + b"Content-Length: 100000000000\r\n\r\n", b"x" * 65536),
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 100 + b"\r\nx\r\n"),
        drips(OK + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000),
        lambda write, closing: (write(OK + b"Content-Length: 10\r\n\r\n"), closing.wait()),
    ],
)
def test_a_body_without_an_end_is_not_waited_for(hostile: Hostile, answers: Callable[[Write, Event], object]) -> None:
    """What was answered was said before it."""
    hostile.answer = answers
    begun_at = time.monotonic()

    answer = post(OURS, hostile.url)

    assert answer.words in ("200", "no answer in time")
    assert time.monotonic() - begun_at < ENDS_S


@pytest.mark.parametrize("coding", ["gzip", "deflate, gzip", "br", "zstd"])
def test_what_is_packed_is_not_unpacked(hostile: Hostile, coding: str) -> None:
    """A few KiB would be many MiB."""
    hostile.says(bomb(), f"Content-Encoding: {coding}")
    tracemalloc.start()
    try:
        answer = post(OURS, hostile.url)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert answer == Answer(200, "200")
    assert most < 8 * MIB
