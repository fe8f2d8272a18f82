"""Where deliveries may go: public addresses, and what a setting allows besides.

A subscriber's address is a stranger's word: it may lead into our own network. So a host is resolved once, every address
of it is checked, and the very address that was checked is connected to.
"""

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

import httpcore

Address = IPv4Address | IPv6Address

HTTPS_PORT = 443
REFUSED = "leads to an address that is not public"


class NotPublicError(httpcore.ConnectError):
    """A name leads to an address that may not be reached."""


class NoAddressError(httpcore.ConnectError):
    """A name has no address."""


# Beyond what Python's `is_global` says, which differs by version. 192.88.99.0/24 leads into 6to4.
_CLOSED_V4 = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
]
# What of IPv6 is given out to networks of the public; in it, what leads elsewhere (Teredo, documentation).
_OPEN_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = [IPv6Network("2001::/23"), IPv6Network("2001:db8::/32"), IPv6Network("3fff::/20")]
# A gateway turns these into the IPv4 address in their last four bytes.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, also by the IPv4 address that is in it."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _CLOSED_V4)
    inner = _inside(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and address in _OPEN_V6 and not any(address in network for network in _CLOSED_V6)


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, by 6to4, or by NAT64."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be reached besides the public: hosts by name, and networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, places: Sequence[str]) -> "Reach":
        networks = {place: network for place in places if (network := _network(place)) is not None}
        return cls(frozenset(place for place in places if place not in networks), tuple(networks.values()))

    def is_ours(self, host: str) -> bool:
        """Whether a host is allowed by what it is called: then by http and at any port, too."""
        address = _literal(host)
        return host.lower().rstrip(".") in self.hosts or (address is not None and self._in_network(address))

    def may(self, host: str, address: Address) -> bool:
        """Whether this address of a host may be connected to."""
        return is_public(address) or self.is_ours(host) or self._in_network(address)

    def _in_network(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self.networks)

    def refusal(self, url: str) -> str | None:
        """Why an address is none to deliver to, by its shape alone; None where it may be one. Quotes nothing of it."""
        parts = split(url)
        if parts is None or not parts.hostname or parts.scheme not in ("http", "https"):
            return "url: must be an address such as https://example.org/hook"
        if "@" in parts.netloc:
            return "url: must have no name and no password"
        if self.is_ours(parts.hostname):
            return None
        if parts.scheme != "https":
            return "url: must begin with https"
        if (parts.port or HTTPS_PORT) != HTTPS_PORT:
            return "url: must be at port 443"
        literal = _literal(parts.hostname)
        return f"url: {REFUSED}" if literal is not None and not self.may(parts.hostname, literal) else None

    def resolve(self, host: str, port: int, within_s: float) -> str:
        """The address of a host to connect to, if all that it has may be.

        Raises:
            NoAddressError: it has none.
            NotPublicError: it has one that may not be reached.
            httpcore.ConnectTimeout: nobody says in time.
        """
        found = _look_up(host, port, within_s)
        if not all(self.may(host, address) for address in found):
            raise NotPublicError(REFUSED)
        return str(found[0])


def split(url: str) -> SplitResult | None:
    """The parts of a URL; None where it has none that make sense."""
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:
        return None
    return parts if has_port else None


def _network(place: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(place, strict=False)
    except ValueError:
        return None


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _look_up(host: str, port: int, within_s: float) -> list[Address]:
    """All addresses of a host. The system's resolver has no limit of time, so it is asked in a thread of its own."""
    answers: list[list[Address] | OSError | UnicodeError] = []
    thread = threading.Thread(target=lambda: answers.append(_ask(host, port)), name="resolve", daemon=True)
    thread.start()
    thread.join(within_s)
    if not answers:
        raise httpcore.ConnectTimeout
    answer = answers[0]
    if not isinstance(answer, list) or not answer:
        raise NoAddressError
    return answer


def _ask(host: str, port: int) -> list[Address] | OSError | UnicodeError:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
    except (OSError, UnicodeError) as error:
        return error
