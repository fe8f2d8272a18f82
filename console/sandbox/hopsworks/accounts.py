"""The accounts of one simulated Hopsworks cluster, and the usernames that the server makes up."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

FIRST_ID = 10_000
ACTIVE = 2
DEACTIVATED = 3
PASSWORD_ACCOUNT = "M_ACCOUNT_TYPE"  # noqa: S105  # what Hopsworks calls an account that isn't remote
REMOTE_ACCOUNT = "REMOTE_ACCOUNT_TYPE"
LONGEST_USERNAME = 8
LEAST_DIGITS = 3
NO_USERNAME_CHARACTER = re.compile(r"[^a-z0-9]")
FIELDS = {
    "id": "id",
    "username": "username",
    "email": "email",
    "firstname": "firstname",
    "lastname": "lastname",
    "status": "status",
    "accountType": "account_type",
    "maxNumProjects": "max_num_projects",
}  # the name in JSON, the attribute


@dataclass(slots=True)
class Account:
    """Id and username are made when it is added, unless a test has given them."""

    email: str  # as it was given; it is compared in lower case
    firstname: str = ""
    lastname: str = ""
    account_type: str = PASSWORD_ACCOUNT
    max_num_projects: int = 0
    status: int = ACTIVE
    subject: str = ""  # of a remote account
    username: str = ""
    id: int = 0

    def item(self, api: str) -> dict[str, Any]:
        """As the API shows it; `api` is the address of the cluster's API."""
        shown = {name: getattr(self, attribute) for name, attribute in FIELDS.items()}
        return shown | {"href": f"{api}/users/{self.id}"}


class Accounts:
    """E-mail addresses (in any case), subjects and usernames are held by one account each."""

    def __init__(self) -> None:
        self._by_id: dict[int, Account] = {}
        self._by_email: dict[str, Account] = {}
        self._by_subject: dict[str, Account] = {}
        self._usernames: set[str] = set()
        self._ids = itertools.count(FIRST_ID)

    def get(self, account_id: int) -> Account | None:
        return self._by_id.get(account_id)

    def of_email(self, email: str) -> Account | None:
        return self._by_email.get(email.lower())

    def of_subject(self, subject: str) -> Account | None:
        return self._by_subject.get(subject) if subject else None

    def starting_with(self, prefix: str = "") -> list[Account]:
        """Those whose e-mail address starts so, in any case, the oldest first."""
        wanted = prefix.lower()
        return [account for email, account in self._by_email.items() if email.startswith(wanted)]

    def add(self, account: Account) -> Account:
        """The caller has seen that its e-mail address, subject and username are free."""
        account.id = account.id or next(number for number in self._ids if number not in self._by_id)
        account.username = account.username or self._free_username(account.email)
        self._by_id[account.id] = account
        self._by_email[account.email.lower()] = account
        self._usernames.add(account.username)
        if account.subject:
            self._by_subject[account.subject] = account
        return account

    def remove(self, account: Account) -> None:
        del self._by_id[account.id], self._by_email[account.email.lower()]
        self._usernames.discard(account.username)
        self._by_subject.pop(account.subject, None)

    def _free_username(self, email: str) -> str:
        """The start of the e-mail address, and a number in place of its end when that is taken."""
        local = email.partition("@")[0].lower()
        name = NO_USERNAME_CHARACTER.sub("", local)[:LONGEST_USERNAME] or "user"
        return next(candidate for candidate in _candidates(name) if candidate not in self._usernames)


def _candidates(name: str) -> itertools.chain[str]:
    """`name`, then three digits after its first five characters; after a thousand of those, four digits, and so on."""
    numbered = (
        f"{name[: max(0, LONGEST_USERNAME - digits)]}{number:0{digits}}"
        for digits in itertools.count(LEAST_DIGITS)
        for number in range(10**digits)
    )
    return itertools.chain([name], numbered)
