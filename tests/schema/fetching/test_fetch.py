"""Requests to servers that mean harm: none holds a worker, fills its memory, leads it elsewhere or is told a secret."""

import base64
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from pgfleet.schema.fetching.fetch import DEEPEST, Fetcher, NoReplyError, Reply, fetching, in_path, line, plain_url
from worlds.network.hostile import MIB, Hostile, Write, bomb, deep, drips, endless, hostile_server

KEY = "k3y.Tell-Nobody"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with hostile_server() as server:
        yield server


@pytest.fixture(scope="module")
def patient() -> Iterator[Fetcher]:
    with fetching(60, MIB) as fetcher:
        yield fetcher


def ask(fetcher: Fetcher, hostile: Hostile, **headers: str) -> Reply:
    return fetcher.fetch("GET", f"{hostile.url}/x", headers={"Authorization": f"ApiKey {KEY}", **headers})


# How much, and how long.


@pytest.mark.parametrize(
    "answer",
    [
        endless(OK, b"X-More: and more\r\n"),
        endless(OK + b"X-Long: ", b"x" * 1000),
        endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"),
        endless(b"HTTP/1.1 200 ", b"O" * 1000),
        endless(OK + b"\r\n", b"x" * 65536),
        endless(OK + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536),
        endless(CHUNKED, b"1;" + b"x" * 1000 + b"\r\nx\r\n"),
        endless(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        endless(CHUNKED + b"0\r\n", b"X-Trailer: and more\r\n"),
    ],
    ids=["headers", "a header", "hints", "a phrase", "a body", "what it said", "chunks of one", "chunks", "trailers"],
)
def test_an_answer_without_an_end_is_none(
    patient: Fetcher, hostile: Hostile, answer: Callable[[Write, threading.Event], None]
) -> None:
    hostile.answer = answer
    tracemalloc.start()
    try:
        with pytest.raises(NoReplyError):
            ask(patient, hostile)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most < 16 * MIB


@pytest.mark.parametrize(
    "text",
    [OK + b"X-Long: " + b"x" * 1000, OK + b"Content-Length: 999\r\n\r\n" + b" " * 999, CHUNKED + b"1\r\nx\r\n" * 200],
    ids=["headers", "body", "chunks"],
)
def test_a_byte_now_and_then_holds_nobody(hostile: Hostile, text: bytes) -> None:
    hostile.answer = drips(text)
    began = time.monotonic()

    with fetching(0.2, MIB) as hasty, pytest.raises(NoReplyError, match="ReadTimeout"):
        ask(hasty, hostile)

    # All of it would take 20 seconds.
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, gzip", "x-gzip", "identity, gzip"]
)
def test_what_is_compressed_is_not_unpacked(patient: Fetcher, hostile: Hostile, encoding: str) -> None:
    hostile.says(bomb(), f"Content-Encoding: {encoding}")

    with pytest.raises(NoReplyError, match="compressed, which nobody asked for"):
        ask(patient, hostile)

    assert b"Accept-Encoding: identity" in hostile.asked[0]


def test_an_answer_of_just_the_size_is_one(patient: Fetcher, hostile: Hostile) -> None:
    hostile.says(b"x" * MIB, "Content-Encoding: identity")

    assert len(ask(patient, hostile).body) == MIB


# Where it leads.


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_an_answer_and_not_followed(patient: Fetcher, hostile: Hostile, status: str) -> None:
    with hostile_server() as elsewhere:
        hostile.says(b"", f"Location: {elsewhere.url}/latest/meta-data/", status=status)

        reply = ask(patient, hostile)

        assert reply.status == int(status[:3])
        assert elsewhere.asked == []


@pytest.mark.parametrize("location", ["http://[", "file:///etc/passwd", "//169.254.169.254/", "\x01", "http://x:99999"])
def test_an_address_that_is_none_in_a_redirect_harms_nobody(patient: Fetcher, hostile: Hostile, location: str) -> None:
    hostile.says(b"", f"Location: {location}", status="302 Found")

    with suppress(NoReplyError):
        assert ask(patient, hostile).status == 302


def test_no_cookie_goes_from_one_server_to_another(patient: Fetcher, hostile: Hostile) -> None:
    hostile.says(b"", "Set-Cookie: SESSION=1; Path=/", "Set-Cookie: other=2; Domain=127.0.0.1")

    for _ in range(2):
        ask(patient, hostile)

    assert not any(b"cookie" in asked.lower() for asked in hostile.asked)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_the_environments_proxy_is_not_asked(hostile: Hostile, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    hostile.says(b"here")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with hostile_server() as proxy:
        monkeypatch.setenv(name, proxy.url)

        with fetching(60, MIB) as fetcher:
            assert ask(fetcher, hostile).text == "here"

        assert proxy.asked == []


def test_the_proxy_that_is_named_is_asked_alone(hostile: Hostile) -> None:
    with hostile_server() as proxy:
        proxy.says(b"by way of the proxy")

        with fetching(60, MIB, proxy.url.replace("//", f"//ada:{KEY}@")) as fetcher:
            assert ask(fetcher, hostile).text == "by way of the proxy"

        signed = base64.b64encode(f"ada:{KEY}".encode())
        assert b"Proxy-Authorization: Basic " + signed in proxy.asked[0]
    assert hostile.asked == []


@pytest.mark.parametrize(
    "address",
    ["", "x", "ftp://x", "file:///etc/passwd", "http://", "http://u:p@x", "http://x/?a", "http://x/#a"],
)
def test_what_is_no_plain_address_is_none(address: str) -> None:
    assert plain_url(address) is None


@pytest.mark.parametrize("name", ["eve/x/y?a=", "..", "a b", "a%2fb", "ä", "a\r\nHost: x", "#", "@x"])
def test_a_name_stays_one_part_of_a_path(patient: Fetcher, hostile: Hostile, name: str) -> None:
    hostile.says(b"")

    patient.fetch("GET", f"{hostile.url}/of-{in_path(name)}.keys")

    path = hostile.asked[0].split(b" ")[1]
    assert path.startswith(b"/of-")
    assert path.endswith(b".keys")
    assert path.count(b"/") == 1
    assert not {b"?", b"#", b"@"} & {path[at : at + 1] for at in range(len(path))}


# What it says.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 2}}',
        deep(DEEPEST + 1),
        deep(100_000),
        b'{"items": [' + b"[]," * 300_000 + b"[]]}",
        b"\xff\xfe{}",
        b"<html>",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_not_all_readers_agree_on_is_no_document(body: bytes) -> None:
    assert Reply(200, {}, body).document is None


def test_a_document_is_read(patient: Fetcher, hostile: Hostile) -> None:
    hostile.says(b'{"items": [{"id": 7, "more": {"deep": [[1.5, null]]}}]}')

    assert ask(patient, hostile).document == {"items": [{"id": 7, "more": {"deep": [[1.5, None]]}}]}


def test_what_is_said_is_one_line_without_secrets() -> None:
    said = line(f"no\n\x1b[31m such \u202e key: {KEY}, " + "x" * 1000, KEY)

    assert said.isprintable()
    assert KEY not in said
    assert len(said) <= 300


def test_nothing_shows_a_key(patient: Fetcher, hostile: Hostile) -> None:
    hostile.says(f"you said {KEY}".encode(), f"X-You-Said: {KEY}")

    reply = ask(patient, hostile)

    assert KEY.encode() in hostile.asked[0]
    assert KEY not in f"{reply!r} {patient!r}"
