"""Accounts of people on Hopsworks clusters, through the admin REST interface (SPEC 2.3).

No error, text or traceback of this module holds a cluster's key: httpx's own errors carry the request and its
headers, so they are never chained.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.hopsworks.answers import (
    ACTIVE,
    Account,
    Address,
    Answer,
    BusyError,
    ClusterError,
    KeyRefusedError,
    UnreachableError,
    fetch,
    named,
    not_sensible,
)
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

__all__ = [
    "Account",
    "Address",
    "BusyError",
    "ClusterError",
    "Hopsworks",
    "KeyRefusedError",
    "Person",
    "UnreachableError",
    "connected",
]

API = "/hopsworks-api/api"
USERS = "/admin/users"
REMOTE = "REMOTE_ACCOUNT_TYPE"
DEACTIVATED = 3
NOT_FOUND = 404
CONFLICT = 409
USER_EXISTS = 160003
NOBODY = "nobody@pgfleet.invalid"
CONNECTIONS = 64
KEY = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is to have an account; `subject` is their Auth0 id, which contains a `|`."""

    subject: str
    email: str
    given_name: str
    surname: str
    max_projects: int


@dataclass(frozen=True, slots=True)
class Hopsworks:
    """All clusters, for the threads of one process. A request takes no longer than two timeouts.

    Every call may raise UnreachableError, KeyRefusedError and BusyError, which are the cluster's faults, and
    NeverError, which is the request's.
    """

    http: httpx.Client

    def find(self, at: Address, email: str) -> Account | None:
        """The account with exactly this e-mail, letter case aside; None where there is none."""
        answer = self._ask(at, "look-up", "GET", USERS, params={"filter_by": f"user_email:{email}"})
        found = [account for account in answer.accounts() if _same(account.email, email)]
        return min(found, key=lambda account: (account.email != email, account.account_id), default=None)

    def open_account(self, at: Address, person: Person, hold: Callable[[], None]) -> Account:
        """The person's account: the one that is there, or a new one. At most three requests.

        `hold` is called just before an account is created; what it raises comes through, and nothing is created.

        Raises:
            NeverError: the account that is there is not ours to take, or the server refuses this person.
        """
        found = self.find(at, person.email)
        if found is not None:
            return _adopted(at, found)
        hold()
        return self._create(at, person)

    def set_enabled(self, at: Address, account_id: int, *, enabled: bool) -> bool:
        """Let a user log in, or not; False where there is no such account."""
        return self._set(at, account_id, "change of the status", {"status": ACTIVE if enabled else DEACTIVATED})

    def set_max_projects(self, at: Address, account_id: int, most: int) -> bool:
        """Limit a user's projects; False where there is no such account."""
        return self._set(at, account_id, "change of the project limit", {"maxNumProjects": most})

    def probe(self, at: Address) -> None:
        """Look up an address that nobody has: this returns only if cluster and key work."""
        self.find(at, NOBODY)

    def _create(self, at: Address, person: Person) -> Account:
        """Not idempotent: whenever it may have happened, the server is asked whether it did."""
        try:
            answer = self._ask(at, "create", "POST", USERS, but=CONFLICT, params=_wanted(at, person))
        except UnreachableError as lost:
            # It is not there, and the cluster answers: the fault is with this create alone.
            return self._find_created(at, person, TryAgainError(str(lost)))
        if answer.status == CONFLICT and answer.error_code == USER_EXISTS:
            other = NeverError(named(at, "the server says that this user exists, but under another e-mail"))
            return self._find_created(at, person, other)
        answer.accepted()
        nowhere = TryAgainError(named(at, "the create was accepted, but the account can't be found"))
        return answer.opened(person.email, REMOTE, person.max_projects) or self._find_created(at, person, nowhere)

    def _find_created(self, at: Address, person: Person, otherwise: Exception) -> Account:
        found = self.find(at, person.email)
        if found is None:
            raise otherwise
        return _adopted(at, found)

    def _set(self, at: Address, account_id: int, asked: str, change: dict[str, int]) -> bool:
        answer = self._ask(at, asked, "PUT", f"{USERS}/{account_id}", but=NOT_FOUND, json=change)
        # A page of a proxy with status 200 or 404 says nothing about the account.
        if answer.body and answer.document is None:
            raise not_sensible(at, asked)
        return answer.status != NOT_FOUND

    def _ask(self, at: Address, asked: str, method: str, path: str, *, but: int | None = None, **sent: Any) -> Answer:
        """The answer to a request, which is a 2xx or has the status `but`."""
        request = self.http.build_request(method, _url(at, path), headers=_headers(at), **sent)
        answer = fetch(self.http, request, at, asked)
        if answer.status != but:
            answer.accepted()
        return answer


@contextmanager
def connected(settings: Settings) -> Iterator[Hopsworks]:
    """Connections for the clusters. No redirects, no cookies, no proxy: the key goes to its own cluster only."""
    timeout_s = settings.hopsworks_timeout_s
    # A session that was begun with one key must not go on under another cluster's key on the same host.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    with httpx.Client(
        transport=_Transport(2 * timeout_s), timeout=timeout_s, cookies=no_cookies, follow_redirects=False
    ) as http:
        yield Hopsworks(http)


def _wanted(at: Address, person: Person) -> dict[str, str]:
    return {
        "accountType": REMOTE,
        "type": "OAUTH2",
        "email": person.email,
        "givenName": person.given_name,
        "surname": person.surname,
        "maxNumProjects": str(person.max_projects),
        "subject": person.subject,
        "clientId": at.client_id,
    }


def _adopted(at: Address, found: Account) -> Account:
    if not found.account_type:
        raise UnreachableError(named(at, "the look-up does not say what type of account has this e-mail"))
    if found.account_type != REMOTE:
        raise NeverError(named(at, "an account of another type has this e-mail: it is not ours to take"))
    return found


def _same(one: str, other: str) -> bool:
    """Equal but for letter case, both ways: the Kelvin sign is a k in lower case, and somebody else's address."""
    return one.lower() == other.lower() and one.upper() == other.upper()


def _url(at: Address, path: str) -> httpx.URL:
    try:
        url = httpx.URL(at.api_url.rstrip("/") + API + path)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise UnreachableError(named(at, "its api_url is no plain http(s) address"))
    return url


def _headers(at: Address) -> httpx.Headers:
    if not KEY.fullmatch(at.api_key):
        raise KeyRefusedError(named(at, "its API key is empty or has characters that no key has"))
    # httpx.Headers shows no Authorization in its repr.
    return httpx.Headers(
        {
            "Authorization": f"ApiKey {at.api_key}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "pgfleet",
        }
    )


class _Deadline(threading.local):
    """When the request of this thread has to be over; timeouts alone bound only each read of it."""

    at: float = 0.0

    def left_s(self, timeout_s: float | None, expired: type[httpcore.TimeoutException]) -> float:
        left_s = self.at - time.monotonic()
        if left_s <= 0:
            raise expired
        return left_s if timeout_s is None else min(timeout_s, left_s)


class _Transport(httpx.HTTPTransport):
    """httpx's own, on a pool whose every read and write ends with the request's deadline."""

    def __init__(self, request_s: float) -> None:
        self._request_s = request_s
        self._deadline = _Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=5,
            network_backend=_Network(self._deadline),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._deadline.at = time.monotonic() + self._request_s
        return super().handle_request(request)


class _Network(httpcore.SyncBackend):
    def __init__(self, deadline: _Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self._deadline.left_s(timeout, httpcore.ConnectTimeout)
        try:
            stream = super().connect_tcp(host, port, left_s, local_address, socket_options)
        except (UnicodeError, OverflowError) as error:
            raise httpcore.ConnectError("no host or port of the network") from error
        return _Stream(stream, self._deadline)


@dataclass(frozen=True, slots=True)
class _Stream(httpcore.NetworkStream):
    stream: httpcore.NetworkStream
    deadline: _Deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.deadline.left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.deadline.left_s(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left_s = self.deadline.left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self.stream.start_tls(ssl_context, server_hostname, left_s), self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)
