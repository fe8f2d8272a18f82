"""Whose request it is: the address of the client, which proxies tell, and which only named ones are believed.

The rightmost address that is no trusted proxy's is the client's: each proxy writes down at the right whom it was asked
by, and what is left of that was said by a stranger.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Headers = Iterable[tuple[bytes, bytes]]

MOST_HOPS = 32
# Whoever has one address of IPv6 has all of its network.
STRANGERS_BITS = 64
# An address as both headers have it: 192.0.2.1, 192.0.2.1:47011, 2001:db8::1, [2001:db8::1]:_hidden.
_NODE = re.compile(
    r"\[(?P<v6>[^\[\]]+)\](:[\w.-]{1,64})?|(?P<v4>[\d.]+)(:[\w.-]{1,64})?|(?P<bare>[0-9A-Fa-f:.]+(%\S+)?)"
)
# One element of Forwarded, and one of its pairs: a comma or semicolon in quotes is none.
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")*')
_PAIR = re.compile(r'\s*([\w!#$%&\'*+.^`|~-]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*(?:;|$)')


def client_address(peer: str | None, headers: Headers, trusted: Sequence[Network]) -> Address | None:
    """Who is behind a connection; None where its other end has no address, as of a Unix socket.

    Of X-Forwarded-For and Forwarded, whichever a trusted proxy sends counts. Where both come and differ, one was
    handed through from a stranger: then neither does, and the proxy is the client.
    """
    at = _address(peer or "")
    if at is None or not _is_one_of(at, trusted):
        return at
    headers = list(headers)
    told = [_behind(at, hops, trusted) for hops in (_x_forwarded_for(headers), _forwarded(headers)) if hops is not None]
    return told[0] if told and all(each == told[0] for each in told) else at


def bucket_of(address: Address | None) -> str:
    """Whom an address counts as, where nothing else is known about who asks."""
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), STRANGERS_BITS), strict=False))
    return str(address)


def _behind(proxy: Address, hops: Sequence[str], trusted: Sequence[Network]) -> Address:
    at = proxy
    for hop in reversed(hops[-MOST_HOPS:]):
        before = _address(hop)
        # What is left of something that is no address was not checked by anybody.
        if before is None:
            return at
        at = before
        if not _is_one_of(at, trusted):
            return at
    return at


def _is_one_of(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _address(text: str) -> Address | None:
    """An address without its port and zone; one of IPv4 within IPv6 is itself."""
    match = _NODE.fullmatch(text.strip())
    if match is None:
        return None
    plain = (match["v6"] or match["v4"] or match["bare"]).partition("%")[0]
    try:
        address = ip_address(plain)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _x_forwarded_for(headers: Headers) -> list[str] | None:
    said = _joined(headers, b"x-forwarded-for")
    # What is further left is one element too long to be an address.
    return None if said is None else said.rsplit(",", MOST_HOPS)


def _forwarded(headers: Headers) -> list[str] | None:
    said = _joined(headers, b"forwarded")
    return None if said is None else list(_elements(said))


def _joined(headers: Headers, name: bytes) -> str | None:
    """All lines of a header as one."""
    lines = [value.decode("latin-1") for header, value in headers if header.lower() == name]
    return ",".join(lines) if lines else None


def _elements(said: str) -> Iterator[str]:
    """Of each hop, from left to right, by whom it was asked; empty where that can't be read."""
    at = 0
    while at <= len(said):
        match = _ELEMENT.match(said, at)
        element = match[0] if match is not None else ""
        at += len(element) + 1
        # A quote that does not end: what is right of it is in it.
        if at <= len(said) and said[at - 1] != ",":
            yield ""
            return
        yield _for(element)


def _for(element: str) -> str:
    found, at = [], 0
    element = element.strip()
    while at < len(element):
        pair = _PAIR.match(element, at)
        if pair is None:
            return ""
        at = pair.end()
        if pair[1].lower() == "for":
            found.append(re.sub(r"\\(.)", r"\1", pair[2][1:-1]) if pair[2].startswith('"') else pair[2])
    return found[0] if len(found) == 1 else ""
