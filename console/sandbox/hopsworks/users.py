"""`/admin/users` of a Hopsworks server: accounts are looked up, created and changed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from pgfleet.console.sandbox.answers import answer
from pgfleet.console.sandbox.hopsworks.accounts import (
    ACTIVE,
    DEACTIVATED,
    PASSWORD_ACCOUNT,
    REMOTE_ACCOUNT,
    Account,
    Accounts,
)
from pgfleet.console.sandbox.hopsworks.refusals import HopsworksRefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

REQUIRED = ("email", "givenName", "surname", "maxNumProjects", "accountType")
REQUIRED_OF_REMOTE = ("type", "subject", "clientId")
EMAIL_FILTER = "user_email:"
NUMBER = re.compile(r"[0-9]{1,9}")


def listed(accounts: Accounts, query: Mapping[str, str], api: str) -> web.Response:
    """`count` is that of all that match, `items` the page of them, left out when there are none."""
    found = accounts.starting_with(_email_prefix(query.get("filter_by", "")))
    offset, limit = (_number(name, query.get(name, "0")) for name in ("offset", "limit"))
    page = found[offset : offset + limit] if limit else found[offset:]
    document: dict[str, Any] = {"href": f"{api}/admin/users", "count": len(found)}
    if page:
        document["items"] = [account.item(api) for account in page]
    return answer(document)


def existing(accounts: Accounts, account_id: str) -> Account:
    """Raises `HopsworksRefusedError` (404) for an id that no account has."""
    account = accounts.get(int(account_id)) if NUMBER.fullmatch(account_id) else None
    if account is None:
        raise HopsworksRefusedError(404, f"user {account_id}")
    return account


def new_account(query: Mapping[str, str], body: bytes) -> Account:
    """Raises `HopsworksRefusedError` (400) when the query lacks something, and for a body, which Hopsworks ignores."""
    if body:
        raise bad_request("a user is created with query parameters, and without a body")
    remote = query.get("accountType") == REMOTE_ACCOUNT
    missing = [name for name in REQUIRED + REQUIRED_OF_REMOTE * remote if not query.get(name)]
    if missing:
        raise bad_request(f"missing: {', '.join(missing)}")
    if query["accountType"] not in (REMOTE_ACCOUNT, PASSWORD_ACCOUNT):
        raise bad_request("accountType is none of the known ones")
    if remote and query["type"] != "OAUTH2":
        raise bad_request("type must be OAUTH2")
    return Account(
        email=query["email"],
        firstname=query["givenName"],
        lastname=query["surname"],
        account_type=query["accountType"],
        max_num_projects=_number("maxNumProjects", query["maxNumProjects"]),
        subject=query["subject"] if remote else "",
    )


def created(account: Account, query: Mapping[str, str], api: str) -> web.Response:
    """The numeric id is in the Location header only."""
    document = {
        "email": account.email,
        "givenName": account.firstname,
        "surname": account.lastname,
        "username": account.username,
    }
    if account.subject:
        document["uuid"] = f"{query['clientId']}.{account.subject}"
    response = answer(document, 201)
    response.headers["Location"] = f"{api}/admin/users/{account.id}"
    return response


def change(account: Account, body: bytes) -> None:
    """All of it or nothing. Raises `HopsworksRefusedError` (400)."""
    wanted = _changes(body)
    account.status = wanted.get("status", account.status)
    account.max_num_projects = wanted.get("maxNumProjects", account.max_num_projects)


def _changes(body: bytes) -> dict[str, int]:
    try:
        wanted = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is no JSON: {error}") from error
    if not isinstance(wanted, dict) or not wanted or set(wanted) - {"status", "maxNumProjects"}:
        raise bad_request("the body is an object with status, maxNumProjects, or both")
    if any(type(value) is not int for value in wanted.values()):
        raise bad_request("status and maxNumProjects are whole numbers")
    if wanted.get("status", ACTIVE) not in (ACTIVE, DEACTIVATED):
        raise bad_request("the sandbox knows status 2 (active) and 3 (deactivated)")
    if wanted.get("maxNumProjects", 0) < 0:
        raise bad_request("maxNumProjects is negative")
    return wanted


def _email_prefix(text: str) -> str:
    if text and not text.startswith(EMAIL_FILTER):
        raise bad_request(f"the sandbox has no filter but {EMAIL_FILTER}<prefix>")
    return text.removeprefix(EMAIL_FILTER)


def _number(name: str, text: str) -> int:
    if not NUMBER.fullmatch(text):
        raise bad_request(f"{name} is no whole number")
    return int(text)
