"""Answers of a Hopsworks cluster, as the errors that the runtime tells apart."""

import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeGuard

import httpx

from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

ANSWER_BYTES = 8 * 1024 * 1024
WORDS_LENGTH = 300
BUSY_S = 10.0
BUSY_CAP_S = 3600.0
ACTIVE = 2
ID_AT_END = re.compile(r"/([0-9]{1,18})/?$")


class ClusterError(TryAgainError):
    """The cluster can't do this now, for anybody; `kind` is what its breaker calls it."""

    kind: str


class UnreachableError(ClusterError):
    """The cluster did not answer, or not sensibly: connection, timeout, 408, 5xx, a redirect, no JSON."""

    kind = "unreachable"


class KeyRefusedError(ClusterError):
    """401 (code 160000) or 403: a fault of the cluster's key, not of the user."""

    kind = "api_key"


class BusyError(ClusterError):
    """429; `after_s` says when to come back, and is always set."""

    kind = "busy"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a cluster is. `client_id` is the OAuth client that its accounts are made for."""

    name: str
    api_url: str
    api_key: str = field(repr=False)
    client_id: str


@dataclass(frozen=True, slots=True)
class Account:
    """A user of a cluster, as it says; `enabled` is whether they may log in."""

    account_id: int
    username: str
    email: str
    account_type: str
    enabled: bool
    max_projects: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a cluster answered when it was `asked` for something; its header names are lower-case."""

    at: Address
    asked: str
    status: int
    # Not shown: a server may quote the key.
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def document(self) -> dict[str, Any] | None:
        """The JSON object that the body is; None where it is anything else."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None

    @property
    def error_code(self) -> Any:
        return (self.document or {}).get("errorCode")

    def accepted(self) -> None:
        """Returns for 2xx only.

        Raises:
            UnreachableError, KeyRefusedError, BusyError: the cluster can't do this now, for anybody.
            NeverError: it refuses this, with the server's words.
        """
        if 200 <= self.status < 300:
            return
        said = f"the {self.asked} was answered {self.status}{self._words()}"
        if self.status in (401, 403):
            raise KeyRefusedError(named(self.at, f"{said}: its API key is not that of an administrator"))
        if self.status == 429:
            raise BusyError(named(self.at, said), after_s=wait_s(self.headers.get("retry-after", "")))
        # A 404 without JSON comes from a proxy before Hopsworks, which knows nothing of users.
        if self.status == 408 or not 400 <= self.status < 500 or (self.status == 404 and self.document is None):
            raise UnreachableError(named(self.at, said))
        raise NeverError(named(self.at, said))

    def accounts(self) -> list[Account]:
        """The users that a look-up found; none where `items` is absent.

        Raises:
            UnreachableError: one of them can't be told from others, or is none.
        """
        document = self.document
        items = document.get("items") or [] if document is not None else None
        if not isinstance(items, list):
            raise not_sensible(self.at, self.asked)
        found = [_account(item) for item in items]
        if None in found:
            raise not_sensible(self.at, self.asked)
        return [account for account in found if account is not None]

    def opened(self, email: str, account_type: str, max_projects: int) -> Account | None:
        """The account that a create made; None where the answer doesn't say its id and username."""
        username = (self.document or {}).get("username")
        account_id = _id_at_end(self.headers.get("location"))
        if account_id is None or not _is_username(username):
            return None
        return Account(account_id, username, email, account_type, enabled=True, max_projects=max_projects)

    def _words(self) -> str:
        """`: code, message`, as far as the server gave them, without the key."""
        document = self.document or {}
        given = [document.get("errorCode"), document.get("errorMsg"), document.get("usrMsg")]
        words = ", ".join(str(one) for one in given if isinstance(one, str | int) and one != "")
        printable = "".join(letter if letter.isprintable() else " " for letter in words)
        shown = printable.replace(self.at.api_key, "***")[:WORDS_LENGTH]
        return f": {shown}" if shown else ""


def fetch(http: httpx.Client, request: httpx.Request, at: Address, asked: str) -> Answer:
    """Send a request and read all of its answer, which may be of any status.

    Raises:
        UnreachableError: there was none. It is raised where httpx's own error is forgotten: that holds the key.
    """
    try:
        response = http.send(request, stream=True, follow_redirects=False)
        try:
            body = _body(response)
        finally:
            response.close()
    except httpx.ConnectError as error:
        # The error's text may be shown, say on a certificate: the key has not been sent yet.
        failed = f"got no answer (ConnectError: {str(error)[:WORDS_LENGTH]})"
    except httpx.HTTPError as error:
        failed = f"got no answer ({type(error).__name__})"
    else:
        if body is not None:
            return Answer(at, asked, response.status_code, dict(response.headers), body)
        failed = f"was answered with more than {ANSWER_BYTES // 1024**2} MiB"
    raise UnreachableError(named(at, f"the {asked} {failed}"))


def named(at: Address, said: str) -> str:
    return f"Hopsworks {at.name}: {said}"


def not_sensible(at: Address, asked: str) -> UnreachableError:
    return UnreachableError(named(at, f"the {asked} was not answered sensibly"))


def wait_s(retry_after: str) -> float:
    """Seconds from a `Retry-After`, which holds them or a date; BUSY_S where it holds neither."""
    try:
        seconds = float(retry_after)
    except ValueError:
        seconds = _until_s(retry_after)
    return min(max(seconds, 0.0), BUSY_CAP_S) if math.isfinite(seconds) else BUSY_S


def _until_s(http_date: str) -> float:
    try:
        then = parsedate_to_datetime(http_date)
        return (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return math.nan


def _body(response: httpx.Response) -> bytes | None:
    """All bytes of a body, as they come: we ask for no compression, so none can burst. None for too many."""
    size = response.headers.get("Content-Length", "")
    if size.isdecimal() and int(size[:20]) > ANSWER_BYTES:
        return None
    body = bytearray()
    for part in response.iter_raw():
        body += part
        if len(body) > ANSWER_BYTES:
            return None
    return bytes(body)


def _account(item: Any) -> Account | None:
    """A user from their item; None where id, username or e-mail are not what they have to be."""
    if not isinstance(item, dict):
        return None
    account_id, username, email = item.get("id"), item.get("username"), item.get("email")
    if account_id is None:
        account_id = _id_at_end(item.get("href"))
    if type(account_id) is not int or not 0 <= account_id < 2**63:
        return None
    if not _is_username(username) or not isinstance(email, str):
        return None
    account_type, most = item.get("accountType"), item.get("maxNumProjects")
    return Account(
        account_id,
        username,
        email,
        account_type if isinstance(account_type, str) else "",
        enabled=item.get("status") == ACTIVE,
        max_projects=most if type(most) is int else None,
    )


def _id_at_end(address: Any) -> int | None:
    found = ID_AT_END.search(address) if isinstance(address, str) else None
    return int(found[1]) if found else None


def _is_username(username: Any) -> TypeGuard[str]:
    return isinstance(username, str) and username.strip() != "" and username.isprintable()
