"""Whose request it is: what a stranger writes into a header is never believed."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfleet.producers.http.limits.proxies import MOST_HOPS, Headers, bucket_of, client_address

TRUSTED = tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7/32", "fd00::/8")))
PROXY = "10.0.0.1"


def xff(*lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", line.encode("latin-1")) for line in lines]


def forwarded(*lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"forwarded", line.encode("latin-1")) for line in lines]


def client(peer: str | None, headers: Headers) -> str:
    return str(client_address(peer, headers, TRUSTED))


@pytest.mark.parametrize("headers", [xff("203.0.113.9"), forwarded("for=203.0.113.9"), []])
def test_what_a_stranger_says_about_itself_counts_nothing(headers: Headers) -> None:
    assert client("198.51.100.1", headers) == "198.51.100.1"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (xff("203.0.113.9"), "203.0.113.9"),
        (xff("1.1.1.1, 203.0.113.9"), "203.0.113.9"),
        (xff("1.1.1.1, 203.0.113.9, 10.2.3.4, 192.0.2.7"), "203.0.113.9"),
        (xff("1.1.1.1", "203.0.113.9", "10.2.3.4"), "203.0.113.9"),
        (xff("203.0.113.9:47011"), "203.0.113.9"),
        (xff("2001:db8::9"), "2001:db8::9"),
        (xff("[2001:db8::9]:47011"), "2001:db8::9"),
        (xff("[2001:db8::9]"), "2001:db8::9"),
        (xff("::ffff:203.0.113.9"), "203.0.113.9"),
        (xff("203.0.113.9, ::ffff:10.2.3.4"), "203.0.113.9"),
        (xff("fe80::1%eth0"), "fe80::1"),
        (xff("203.0.113.9, fd00::1%en0"), "203.0.113.9"),
        (xff("10.9.9.9, 10.2.3.4"), "10.9.9.9"),
        (forwarded("for=203.0.113.9;proto=https;by=10.0.0.1"), "203.0.113.9"),
        (forwarded('proto=https; For="[2001:db8::9]:4711"'), "2001:db8::9"),
        (forwarded('for="203.0.113.9:_port"'), "203.0.113.9"),
        (forwarded("for=1.1.1.1, for=203.0.113.9", "for=10.2.3.4"), "203.0.113.9"),
        (forwarded('for=203.0.113.9;ext="a, for=1.1.1.1"'), "203.0.113.9"),
        (forwarded(r'for=203.0.113.9;ext="\", for=1.1.1.1"'), "203.0.113.9"),
    ],
)
def test_the_rightmost_that_is_no_proxy_is_the_client(headers: Headers, found: str) -> None:
    assert client(PROXY, headers) == found


@pytest.mark.parametrize(
    "headers",
    [
        *(xff(said) for said in ("", "unknown", "a.b.c.d", "203.0.113.9.1", "1.1.1.1, ", "203.0.113.999", "localhost")),
        *(xff(said) for said in ("1.1.1.1, []", "1.1.1.1, [::1", "1.1.1.1, '203.0.113.9'", "0x7f.1", "3405803785")),
        *(forwarded(said) for said in ("for=unknown", "for=_hidden", "proto=https", "for=1.1.1.1 for=2.2.2.2", "for=")),
        *(forwarded(said) for said in ('for="203.0.113.9', 'for=1.1.1.1, for="', "for=1.1.1.1;for=2.2.2.2", "=;;=")),
    ],
)
def test_what_is_no_address_is_not_looked_behind(headers: Headers) -> None:
    assert client(PROXY, headers) == PROXY


def test_what_is_left_of_something_malformed_was_checked_by_nobody() -> None:
    assert client(PROXY, xff("203.0.113.9, unknown, 10.2.3.4")) == "10.2.3.4"


def test_a_header_that_a_proxy_only_hands_through_does_not_speak_for_it() -> None:
    assert client(PROXY, [*forwarded("for=1.1.1.1"), *xff("203.0.113.9")]) == PROXY
    assert client(PROXY, [*forwarded("for=203.0.113.9"), *xff("203.0.113.9")]) == "203.0.113.9"


def test_a_header_that_is_filled_up_hides_nobody() -> None:
    assert client(PROXY, xff(", ".join(["1.1.1.1"] * 2000 + ["203.0.113.9"]))) == "203.0.113.9"
    assert client(PROXY, xff("x" * 20_000 + ", 203.0.113.9")) == "203.0.113.9"


def test_no_more_hops_are_followed_than_proxies_there_are() -> None:
    assert client(PROXY, xff(", ".join(["1.1.1.1"] + ["10.0.0.2"] * MOST_HOPS))) == "10.0.0.2"


@pytest.mark.parametrize("peer", [None, "", "testclient", "/run/pgfleet.sock"])
def test_what_has_no_address_has_none(peer: str | None) -> None:
    assert client(peer, xff("203.0.113.9")) == "None"


def test_a_proxy_that_is_reached_by_ipv6_is_the_same() -> None:
    assert client("::ffff:10.0.0.1", xff("203.0.113.9")) == "203.0.113.9"


@given(st.text(st.characters(max_codepoint=255), max_size=300), st.sampled_from([b"x-forwarded-for", b"forwarded"]))
def test_whatever_a_stranger_writes_the_proxys_own_word_counts(said: str, name: bytes) -> None:
    own = b"203.0.113.9" if name == b"x-forwarded-for" else b"for=203.0.113.9"
    headers = [(name, said.encode("latin-1")), (name, own)]

    assert client(PROXY, headers) in ("203.0.113.9", PROXY)


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
    ],
)
def test_a_network_of_ipv6_counts_as_one(address: str, bucket: str) -> None:
    assert bucket_of(ip_address(address)) == bucket


def test_all_without_an_address_share_a_bucket() -> None:
    assert bucket_of(None) == "None"
