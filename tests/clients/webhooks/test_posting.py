"""Where deliveries may go, how they are signed, and that they are over whatever the other side does."""

import json
import socket
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from pgfleet.schema.settings import BadSettings, read_settings
from pgfleet.workers.clients.webhooks import posting
from pgfleet.workers.clients.webhooks.posting import Answer, delivering
from pgfleet.workers.clients.webhooks.reach import REFUSED, Reach, is_public
from pgfleet.workers.clients.webhooks.signing import signed
from worlds.network.certificates import certificate
from worlds.receiver import Receiver, receiving

CLOSED = (
    *("127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "100.127.255.255", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1"),  # noqa: S104
    *("255.255.255.255", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1"),
    *("::", "::1", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "3fff::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.0.0.1"),
    *("2002:7f00:1::", "2002:a00:1::", "2002:a9fe:a9fe::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1"),
    *("64:ff9b:1::1", "2001::1", "100::1", "4000::1"),
)
OPEN = ("1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "2606:4700::1111", "64:ff9b::808:808")
OPEN_BY_WHAT_IS_INSIDE = ("::ffff:8.8.8.8", "2002:808:808::")


@pytest.mark.parametrize("text", CLOSED)
def test_what_is_no_address_of_the_public_is_not_reached(text: str) -> None:
    """However it is written, and whatever leads to it."""
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", [*OPEN, *OPEN_BY_WHAT_IS_INSIDE])
def test_the_public_is_reached(text: str) -> None:
    """Else nobody would be told anything."""
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "https://example.org:8443/", "https://me:x@example.org/", "https://me@example.org/"),
        *("https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest"),
        *("ftp://example.org/", "file:///etc/passwd", "https://", "https://example.org:0/", "x", "https://[::1/"),
    ],
)
def test_an_address_of_such_a_shape_is_refused(url: str) -> None:
    """When it is asked for, in words that quote nothing of it."""
    refusal = Reach().refusal(url)

    assert refusal is not None
    assert refusal.startswith("url: ")
    assert "example.org" not in refusal.replace("https://example.org/hook", "")


@pytest.mark.parametrize("url", ["https://example.org/x?y=z", "https://EXAMPLE.org:443/", "https://8.8.8.8/"])
def test_https_to_the_public_is_fine(url: str) -> None:
    """At its own port."""
    assert Reach().refusal(url) is None


@pytest.mark.parametrize("url", ["http://chat.fleet:8080/", "http://10.2.3.4/", "https://10.2.0.1:8443/"])
def test_what_the_setting_allows_is_reached_by_http_and_at_any_port(url: str) -> None:
    """Hosts by their name, and networks."""
    allowed = Reach.of(read_settings(events_may_reach="chat.fleet, 10.2.0.0/16").events_may_reach)

    assert allowed.refusal(url) is None
    assert Reach().refusal(url) is not None
    assert allowed.refusal("https://10.3.0.1/") is not None


@pytest.mark.parametrize("given", ["not a host", "10.0.0.0/33", "https://example.org", ","])
def test_a_setting_that_makes_no_sense_is_told(given: str) -> None:
    """By the name of its variable."""
    with pytest.raises(BadSettings, match="must be hosts"):
        read_settings(events_may_reach=given)


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name has these addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def post(allowed: Reach, url: str) -> Answer:
    with delivering(allowed) as webhooks:
        return webhooks.post(url, b"[]", "application/json", {"webhook-id": "msg_1"})


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("8.8.8.8", "10.0.0.1"), ("169.254.169.254",)])
def test_a_name_that_leads_into_our_network_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    """Not even where one of its addresses is public."""
    resolving(monkeypatch, *addresses)

    assert post(Reach(), "https://rebinding.example.org/x") == Answer(None, REFUSED)


@pytest.mark.parametrize("url", ["https://2130706433/", "https://0x7f.1/", "https://127.1/"])
def test_other_ways_to_write_an_address_lead_nowhere_else(url: str) -> None:
    """The system's resolver takes them, so what it makes of them is checked."""
    assert post(Reach(), url).words == REFUSED


def test_what_was_checked_is_what_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is asked for once: whoever answers otherwise the second time is not asked a second time."""
    asked: list[Any] = []
    real = socket.getaddrinfo

    def once(host: Any, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == "chat.fleet" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    with receiving() as receiver:
        port = receiver.url.split(":")[2].split("/")[0]
        answer = post(Reach.of(["chat.fleet"]), f"http://chat.fleet:{port}/x")

    assert answer.status == 200
    assert receiver.got[0].headers["host"] == f"chat.fleet:{port}"
    assert asked.count("chat.fleet") == 1


def test_a_certificate_is_verified_by_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although it is an address that is connected to."""
    pem, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **more: real("127.0.0.1", *rest, **more))
    allowed = Reach.of(["localhost", "other.fleet"])
    with receiving(context) as receiver:
        answers = [post(allowed, receiver.url.replace("localhost", name)) for name in ("localhost", "other.fleet")]

    assert [answer.words for answer in answers] == ["200", "its certificate is of another name"]
    assert len(receiver.got) == 1


def test_who_answers_without_an_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is who does not answer at all."""
    monkeypatch.setattr(posting, "PART_S", 0.2)
    with receiving() as receiver:
        receiver.free.clear()
        silent = post(Reach.of(["127.0.0.1"]), receiver.url)

    assert silent == Answer(None, "no answer in time")


def test_a_long_answer_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its status is all that counts."""
    with receiving() as receiver:
        receiver.answers = b"x" * 5_000_000
        assert post(Reach.of(["127.0.0.1"]), receiver.url) == Answer(200, "200")


def test_nothing_of_the_address_is_in_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong."""
    resolving(monkeypatch, "10.0.0.1")
    urls = ("https://example.org/hush?key=hush", "http://127.0.0.1:9/hush", "https://example.org:99999/hush")

    said = [str(post(Reach.of(["127.0.0.1"]), url)) for url in urls]

    assert "hush" not in json.dumps(said)


def test_a_signature_is_the_one_of_the_standard() -> None:
    """The example in the specification of Standard Webhooks."""
    at = datetime.fromtimestamp(1614265330, UTC)

    headers = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}'
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_sees_what_was_sent(tmp_path: Path) -> None:
    """Without cookies of before, and no proxy of the environment in between."""
    with pytest.MonkeyPatch.context() as patch, receiving() as receiver:
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        receiver.headers = {"Set-Cookie": "a=b"}
        answers = [post(Reach.of(["127.0.0.0/8"]), receiver.url) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
    assert isinstance(receiver, Receiver)
    assert ["cookie" in got.headers for got in receiver.got] == [False, False]
