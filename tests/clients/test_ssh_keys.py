"""SSH keys from a server that may say anything: only keys reach a pod, and only of the name that was asked for."""

import base64
import time
from collections.abc import Iterator

import pytest

from pgfleet.workers.clients.ssh_keys import KEYS_LIMIT, SshKeys, connected, key_of
from pgfleet.workers.runtime.outcomes import NeverError, NotNowError, TryAgainError
from worlds.fleet import settings_for
from worlds.network.hostile import MIB, Hostile, bomb, drips, endless, hostile_server

DSN = "postgresql:///none"
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def key(name: str = "ssh-ed25519", inside: str | None = None, size: int = 32) -> str:
    within = (inside or name).encode()
    blob = len(within).to_bytes(4, "big") + within + size.to_bytes(4, "big") + bytes(size)
    return f"{name} {base64.b64encode(blob).decode()}"


GOOD = key()
TYPES = ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com"]


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with hostile_server() as server:
        yield server


@pytest.fixture
def keys(hostile: Hostile) -> Iterator[SshKeys]:
    with connected(settings_for(DSN, ssh_keys_url=f"{hostile.url}/{{user}}.keys")) as opened:
        yield opened


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("end", ["", " ada@laptop", " \x1b[31mred\x07", "\r", "  "], ids=repr)
def test_a_key_is_a_key_and_its_comment_is_left_out(name: str, end: str) -> None:
    assert key_of(key(name) + end) == key(name)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# a comment",
        f'command="/bin/sh" {GOOD}',
        f'no-pty,environment="LD_PRELOAD=/x" {GOOD}',
        f"cert-authority {GOOD}",
        f"\x00{GOOD}",
        "ssh-ed25519",
        "ssh-ed25519 ",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 not*base64",
        f"{GOOD[:20]}\x07{GOOD[20:]}",
        key(inside="ssh-rsa"),
        key("ssh-dss"),
        key("ssh-ed25519-cert-v01@openssh.com"),
        key("ssh-rsa", size=5000),
        GOOD.replace("ssh-ed25519 ", "ssh-ed25519\t"),
        GOOD.replace("ssh-ed25519 ", "ssh-ed25519  "),
        GOOD.upper(),
    ],
    ids=repr,
)
def test_what_is_no_key_reaches_no_pod(hostile: Hostile, keys: SshKeys, line: str) -> None:
    hostile.says(f"{line}\n{GOOD} beside it\n".encode())

    assert key_of(line) is None
    assert keys.of("ada") == [GOOD]


def test_of_very_many_keys_the_first_are_taken(hostile: Hostile, keys: SshKeys) -> None:
    hostile.says("\n".join(key(size=size) for size in range(KEYS_LIMIT + 50)).encode())

    assert keys.of("ada") == [key(size=size) for size in range(KEYS_LIMIT)]


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"], ids=repr)
def test_only_a_newline_ends_a_line(hostile: Hostile, keys: SshKeys, separator: str) -> None:
    hostile.says(f"# said by somebody{separator}{GOOD}".encode())

    assert keys.of("ada") == []


@pytest.mark.parametrize(
    "name", ["", "eve/x/y?a=", "..", ".", "a b", "a%2f", "eve#", "eve@host", "a\nb", "\u0430da", "x" * 101, "{user}"]
)
def test_a_name_that_can_be_none_is_not_asked_for(hostile: Hostile, keys: SshKeys, name: str) -> None:
    with pytest.raises(NeverError, match="no name at GitHub"):
        keys.of(name)

    assert hostile.asked == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_keys_that_are_elsewhere_are_nobodys(hostile: Hostile, keys: SshKeys, status: str) -> None:
    with hostile_server() as elsewhere:
        elsewhere.says(GOOD.encode())
        hostile.says(b"", f"Location: {elsewhere.url}/eve.keys", status=status)

        with pytest.raises(NotNowError):
            keys.of("ada")

        assert elsewhere.asked == []


def test_a_page_of_keys_is_a_page(hostile: Hostile, keys: SshKeys) -> None:
    hostile.says(GOOD.encode(), "Content-Type: text/html; charset=utf-8")

    with pytest.raises(NotNowError, match="a web page"):
        keys.of("ada")


def test_more_than_anybodys_keys_are_none(hostile: Hostile, keys: SshKeys) -> None:
    for hostile.answer in (endless(HEAD, b"x" * 65536), endless(HEAD, f"{GOOD}\n".encode())):
        with pytest.raises(NotNowError, match="more than"):
            keys.of("ada")
    hostile.says(bomb(), "Content-Encoding: gzip")
    with pytest.raises(NotNowError, match="compressed"):
        keys.of("ada")
    hostile.says(b"x" * MIB)
    with pytest.raises(NotNowError, match="more than"):
        keys.of("ada")


def test_a_server_that_drips_holds_nobody(hostile: Hostile) -> None:
    hostile.answer = drips(HEAD + f"{GOOD}\n".encode() * 20)
    began = time.monotonic()

    url = f"{hostile.url}/{{user}}.keys"
    with connected(settings_for(DSN, ssh_keys_url=url, ssh_keys_timeout_s=0.2)) as keys, pytest.raises(NotNowError):
        keys.of("ada")

    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "url", ["http://{host}/everybody.keys", "ftp://{host}/{{user}}", "http://ada:pass@{host}/{{user}}"]
)
def test_an_address_that_is_the_same_for_all_or_holds_a_password_is_not_asked(hostile: Hostile, url: str) -> None:
    hostile.says(GOOD.encode())
    at = url.format(host=hostile.url.removeprefix("http://"))

    with connected(settings_for(DSN, ssh_keys_url=at)) as keys:
        (lacks,) = keys.lacking()
        with pytest.raises((NotNowError, TryAgainError)):
            keys.of("ada")

    assert isinstance(lacks, str)
    assert "PGFLEET_SSH_KEYS_URL" in lacks
    assert "pass@" not in lacks
    assert hostile.asked == []
