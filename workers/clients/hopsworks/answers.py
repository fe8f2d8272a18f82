"""Answers of a Hopsworks cluster, as the errors that the runtime tells apart."""

import re
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import httpx

from pgfleet.schema.assignment import Held
from pgfleet.schema.fetching.fetch import Fetcher, NoReplyError, Reply, line
from pgfleet.workers.clients.retry_after import retry_after_s
from pgfleet.workers.clients.verdicts import HOPSWORKS, NO_ANSWER, NO_SENSE, Verdict, status_class, verdict
from pgfleet.workers.runtime.outcomes import Calls, NeverError, NotNowError

ANSWER_BYTES = 8 * 1024 * 1024
# Of a username, an e-mail, a type.
TEXT_LENGTH = 320
BUSY_S = 10.0
BUSY_CAP_S = 3600.0
ACTIVE = 2
KEY = re.compile(r"[\x21-\x7e]+")
ID_AT_END = re.compile(r"/([0-9]{1,18})/?$")


class ClusterError(NotNowError):
    """The cluster can't do this now; `answer` is its name in the table of verdicts."""

    shows: Held

    def __init__(self, at: "Address", words: str, answer: str, after_s: float | None = None) -> None:
        super().__init__(at.dependency, Calls.READ, self.shows, named(at, words), after_s)
        self.answer = answer


class UnreachableError(ClusterError):
    """The cluster did not answer, or not sensibly: connection, timeout, 408, 5xx, a redirect, no JSON."""

    shows = Held.CLUSTER_UNREACHABLE


class KeyRefusedError(ClusterError):
    """401 (code 160000) or 403: a fault of the cluster's key, not of the user."""

    shows = Held.CLUSTER_KEY_REFUSED


class BusyError(ClusterError):
    """429; `after_s` says when to come back, and is always set."""

    shows = Held.CLUSTER_UNREACHABLE


@dataclass(frozen=True, slots=True)
class Address:
    """Where a cluster is. `client_id` is the OAuth client that its accounts are made for."""

    cluster_id: str
    name: str
    api_url: str
    api_key: str = field(repr=False)
    client_id: str

    @property
    def dependency(self) -> str:
        """What its outages are called (schema/132)."""
        return dependency_of(self.cluster_id)


@dataclass(frozen=True, slots=True)
class Account:
    """A user of a cluster, as it says; `enabled` is whether they may log in."""

    account_id: int
    username: str
    email: str
    account_type: str
    enabled: bool
    max_projects: int | None

    def has_email(self, email: str) -> bool:
        """Letter case aside, both ways: the Kelvin sign is a k in lower case, and somebody else's."""
        return self.email.lower() == email.lower() and self.email.upper() == email.upper()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a cluster answered when it was `asked` for something."""

    at: Address
    asked: str
    reply: Reply

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def document(self) -> dict[str, Any] | None:
        """The JSON object that the body is; None where it is anything else."""
        return self.reply.document

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
        answer = self._named()
        # Whether it is a read matters only to what becomes of the breaker.
        if verdict(HOPSWORKS, Calls.READ, answer) is Verdict.NEVER:
            raise NeverError(named(self.at, said))
        if self.status in (401, 403):
            raise KeyRefusedError(self.at, f"{said}: its API key is not that of an administrator", answer)
        if self.status == 429:
            after_s = wait_s(self.reply.headers.get("retry-after", ""), self.reply.headers.get("date", ""))
            raise BusyError(self.at, said, answer, after_s)
        raise UnreachableError(self.at, said, answer)

    def _named(self) -> str:
        """How the table of verdicts names it. A 404 without JSON comes from a proxy, which knows nothing of users."""
        page = self.status < 400 or (self.status == 404 and self.document is None)
        return NO_SENSE if page else status_class(self.status)

    def accounts(self) -> list[Account]:
        """The users that a look-up found; none where `items` is absent.

        Raises:
            UnreachableError: one of them can't be told from others, or is none.
        """
        document = self.document
        items = document.get("items") or [] if document is not None else None
        if not isinstance(items, list):
            raise not_sensible(self.at, self.asked)
        found = [_account(item, self.at) for item in items]
        if None in found:
            raise not_sensible(self.at, self.asked)
        return [account for account in found if account is not None]

    @property
    def total(self) -> int:
        """How many users there are on all pages of a look-up; 0 where it doesn't say."""
        count = (self.document or {}).get("count")
        return count if type(count) is int else 0

    def account(self, account_id: int) -> Account:
        """The user that was asked for by their id.

        Raises:
            UnreachableError: it is none, or another.
        """
        found = _account({"id": account_id, **(self.document or {})}, self.at)
        if found is None or found.account_id != account_id:
            raise not_sensible(self.at, self.asked)
        return found

    def opened(self, email: str, account_type: str, max_projects: int) -> Account | None:
        """The account that a create made; None where the answer doesn't say its id and username."""
        username = (self.document or {}).get("username")
        account_id = _id_at_end(self.reply.headers.get("location"))
        if account_id is None or not _is_username(username, self.at):
            return None
        return Account(account_id, username, email, account_type, enabled=True, max_projects=max_projects)

    def _words(self) -> str:
        """`: code, message`, as far as the server gave them, without the key."""
        document = self.document or {}
        given = [document.get("errorCode"), document.get("errorMsg"), document.get("usrMsg")]
        words = ", ".join(str(one) for one in given if isinstance(one, str | int) and one != "")
        shown = line(words, self.at.api_key)
        return f": {shown}" if shown else ""


def fetch(fetcher: Fetcher, method: str, url: httpx.URL, at: Address, asked: str, **sent: Any) -> Answer:
    """Send a request with the cluster's key, and read its answer, which may be of any status.

    Raises:
        KeyRefusedError: the key can be none, so nothing was sent.
        UnreachableError: there was no answer.
    """
    try:
        reply = fetcher.fetch(method, url, headers=_headers(at), **sent)
    except NoReplyError as error:
        failed = str(error)
    else:
        return Answer(at, asked, reply)
    raise UnreachableError(at, f"the {asked} {failed}", NO_ANSWER)


def _headers(at: Address) -> dict[str, str]:
    if not KEY.fullmatch(at.api_key):
        raise KeyRefusedError(at, "its API key is empty or has characters that no key has", "401")
    return {"Authorization": f"ApiKey {at.api_key}", "Accept": "application/json"}


def dependency_of(cluster_id: object) -> str:
    return f"{HOPSWORKS}:{cluster_id}"


def named(at: Address, said: str) -> str:
    return f"Hopsworks {at.name}: {said}"


def not_sensible(at: Address, asked: str) -> UnreachableError:
    return UnreachableError(at, f"the {asked} was not answered sensibly", NO_SENSE)


def wait_s(retry_after: str, answered_at: str) -> float:
    """Seconds from a `Retry-After`, within a cap; BUSY_S where it says nothing."""
    said_s = retry_after_s(retry_after, answered_at)
    return BUSY_S if said_s is None else min(said_s, BUSY_CAP_S)


def _account(item: Any, at: Address) -> Account | None:
    """A user from their item; None where id, username or e-mail are not what they have to be."""
    if not isinstance(item, dict):
        return None
    account_id, username, email = item.get("id"), item.get("username"), item.get("email")
    if account_id is None:
        account_id = _id_at_end(item.get("href"))
    if type(account_id) is not int or not 0 <= account_id < 2**63:
        return None
    if not _is_username(username, at) or not _is_text(email, at):
        return None
    account_type, most = item.get("accountType"), item.get("maxNumProjects")
    return Account(
        account_id,
        username,
        email,
        account_type if _is_text(account_type, at) else "",
        enabled=item.get("status") == ACTIVE,
        max_projects=most if type(most) is int else None,
    )


def _id_at_end(address: Any) -> int | None:
    found = ID_AT_END.search(address) if isinstance(address, str) else None
    return int(found[1]) if found else None


def _is_username(username: Any, at: Address) -> TypeGuard[str]:
    return _is_text(username, at) and username.strip() != ""


def _is_text(value: Any, at: Address) -> TypeGuard[str]:
    """What may be kept in a row and shown: not long, without control characters, and without our key."""
    return isinstance(value, str) and len(value) <= TEXT_LENGTH and value.isprintable() and at.api_key not in value
