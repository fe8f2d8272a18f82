"""Accounts of people on Hopsworks clusters, through the admin REST interface (SPEC 2.3).

No error, text or traceback of this module holds a cluster's key: httpx's own errors carry the request and its
headers, so they are never chained.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from pgfleet.schema.fetching.fetch import Fetcher, fetching, plain_url
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.hopsworks.answers import (
    ACTIVE,
    ANSWER_BYTES,
    Account,
    Address,
    Answer,
    BusyError,
    ClusterError,
    KeyRefusedError,
    UnreachableError,
    dependency_of,
    fetch,
    named,
    not_sensible,
)
from pgfleet.workers.clients.verdicts import HOPSWORKS, NO_ANSWER, NO_SENSE, Verdict, verdict
from pgfleet.workers.runtime.outcomes import Calls, NeverError, TryAgainError
from pgfleet.workers.runtime.outside.breakers import Breakers
from pgfleet.workers.runtime.outside.guard import Guard

__all__ = [
    "Account",
    "Address",
    "BusyError",
    "ClusterError",
    "Hopsworks",
    "KeyRefusedError",
    "Person",
    "UnreachableError",
    "adopted",
    "connected",
    "dependency_of",
]

API = "/hopsworks-api/api"
USERS = "/admin/users"
REMOTE = "REMOTE_ACCOUNT_TYPE"
DEACTIVATED = 3
NOT_FOUND = 404
CONFLICT = 409
USER_EXISTS = 160003
NOBODY = "nobody@pgfleet.invalid"
# Of those whose e-mail begins in the same way. Who answers without an end is not waited for.
MOST_PAGES = 100
LOOK_UP_S = 60.0
EMAIL_LENGTH = 320

R = TypeVar("R")


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

    Every call may raise NotNowError, which is the cluster's fault or may be, and NeverError, which is the request's.
    """

    fetcher: Fetcher
    breakers: Breakers | None = None
    guards: dict[Address, Guard] = field(default_factory=dict)

    def find(self, at: Address, email: str) -> Account | None:
        """The account with exactly this e-mail, letter case aside; None where there is none."""
        return self._guarded(at, Calls.READ, lambda: self._look_up(at, email))

    def account(self, at: Address, account_id: int) -> Account | None:
        """The account with this id, whatever its e-mail is now; None where there is none."""
        return self._guarded(at, Calls.READ, lambda: self._by_id(at, account_id))

    def open_account(self, at: Address, person: Person, hold: Callable[[], None]) -> Account:
        """The person's account: the one that is there, or a new one. At most three requests.

        `hold` is called just before an account is created; what it raises comes through, and nothing is created.

        Raises:
            NeverError: the account that is there is not ours to take, or this person can't have one.
        """
        if not is_mailbox(person.email):
            raise NeverError(named(at, "the user's e-mail is no address that an account could have"))
        found = self.find(at, person.email)
        if found is not None:
            return adopted(at, found)
        hold()
        return self._guarded(at, Calls.MAKE, lambda: self._create(at, person))

    def set_enabled(self, at: Address, account_id: int, *, enabled: bool) -> bool:
        """Let a user log in, or not; False where there is no such account."""
        return self._set(at, account_id, "change of the status", {"status": ACTIVE if enabled else DEACTIVATED})

    def set_max_projects(self, at: Address, account_id: int, most: int) -> bool:
        """Limit a user's projects; False where there is no such account."""
        return self._set(at, account_id, "change of the project limit", {"maxNumProjects": most})

    def probe(self, at: Address) -> None:
        """Look up an address that nobody has, open breaker or not: this returns only if cluster and key work.

        Raises:
            NotNowError: one of them does not.
        """
        try:
            self._look_up(at, NOBODY)
        except NeverError as refused:
            raise UnreachableError(at, str(refused).removeprefix(named(at, "")), NO_SENSE) from None

    def _guarded(self, at: Address, calls: Calls, call: Callable[[], R]) -> R:
        """What the call returns; none is made while the cluster is known not to answer.

        Whether a cluster answers is one question: its breaker is one for all calls.
        """
        guard = self.guards.setdefault(at, Guard(at.dependency, self.breakers, lambda _calls: self.probe(at)))
        guard.check(Calls.READ)
        try:
            return call()
        except ClusterError as error:
            surely = verdict(HOPSWORKS, calls, error.answer) is Verdict.OUT
            raise guard.unanswered(error, surely=surely) from None

    def _look_up(self, at: Address, email: str) -> Account | None:
        if not is_mailbox(email):
            return None
        found = [account for account in self._beginning_with(at, email) if account.has_email(email)]
        return min(found, key=lambda account: (account.email != email, account.account_id), default=None)

    def _beginning_with(self, at: Address, email: str) -> Iterator[Account]:
        """Of all pages: a server may not give all that begin so at once."""
        seen: set[int] = set()
        until = time.monotonic() + LOOK_UP_S
        for _ in range(MOST_PAGES):
            offset = {"offset": str(len(seen))} if seen else {}
            answer = self._ask(at, "look-up", "GET", USERS, params={"filter_by": f"user_email:{email}", **offset})
            new = {found.account_id: found for found in answer.accounts() if found.account_id not in seen}
            yield from new.values()
            seen |= new.keys()
            if not new or len(seen) >= answer.total:
                return
            if time.monotonic() > until:
                break
        raise UnreachableError(at, f"the look-up found {len(seen):,} users, and goes on", NO_SENSE)

    def _by_id(self, at: Address, account_id: int) -> Account | None:
        answer = self._ask(at, "look-up", "GET", f"{USERS}/{account_id}", but=NOT_FOUND)
        if answer.document is None:
            raise not_sensible(at, answer.asked)
        return None if answer.status == NOT_FOUND else answer.account(account_id)

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
        found = self._look_up(at, person.email)
        if found is None:
            raise otherwise
        return adopted(at, found)

    def _set(self, at: Address, account_id: int, asked: str, change: dict[str, int]) -> bool:
        return self._guarded(at, Calls.MAKE, lambda: self._change(at, account_id, asked, change))

    def _change(self, at: Address, account_id: int, asked: str, change: dict[str, int]) -> bool:
        answer = self._ask(at, asked, "PUT", f"{USERS}/{account_id}", but=NOT_FOUND, document=change)
        # A page of a proxy with status 200 or 404 says nothing about the account.
        if answer.reply.body and answer.document is None:
            raise not_sensible(at, asked)
        return answer.status != NOT_FOUND

    def _ask(self, at: Address, asked: str, method: str, path: str, *, but: int | None = None, **sent: Any) -> Answer:
        """The answer to a request, which is a 2xx or has the status `but`."""
        answer = fetch(self.fetcher, method, _url(at, path), at, asked, **sent)
        if answer.status != but:
            answer.accepted()
        return answer


@contextmanager
def connected(settings: Settings, breakers: Breakers | None = None) -> Iterator[Hopsworks]:
    """Connections for the clusters: each key goes to its own cluster only."""
    with fetching(settings.hopsworks_timeout_s, ANSWER_BYTES) as fetcher:
        yield Hopsworks(fetcher, breakers)


def is_mailbox(email: str) -> bool:
    """Whether this may be somebody's e-mail. By a part of one, or by nothing, everybody would be looked up."""
    local, _, host = email.rpartition("@")
    return local != "" and host != "" and len(email) <= EMAIL_LENGTH and email.isprintable()


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


def adopted(at: Address, found: Account) -> Account:
    """The account, if it is ours to take."""
    if not found.account_type:
        raise TryAgainError(named(at, "the look-up does not say what type of account has this e-mail"))
    if found.account_type != REMOTE:
        raise NeverError(named(at, "an account of another type has this e-mail: it is not ours to take"))
    return found


def _url(at: Address, path: str) -> httpx.URL:
    url = plain_url(at.api_url.rstrip("/") + API + path)
    if url is None:
        raise UnreachableError(at, "its api_url is no plain http(s) address", NO_ANSWER)
    return url
