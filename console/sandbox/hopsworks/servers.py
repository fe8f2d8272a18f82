"""Hopsworks servers as far as their admin REST API: one for each name, each with accounts and a key of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.answers import answer
from pgfleet.console.sandbox.hopsworks.accounts import Account, Accounts
from pgfleet.console.sandbox.hopsworks.refusals import NO_SUCH_PAGE, HopsworksRefusedError
from pgfleet.console.sandbox.hopsworks.users import change, created, existing, listed, new_account

if TYPE_CHECKING:
    from aiohttp import web

PREFIX = "/hopsworks/"
API = "hopsworks-api/api"
USERS = f"{API}/admin/users"


@dataclass(slots=True)
class HopsworksCluster:
    """Requests that an ordered fault refused or dropped are not counted."""

    name: str
    api_key: str = field(repr=False)
    latency_s: float = 0.0
    accounts: Accounts = field(default_factory=Accounts)
    requests: int = 0
    refused_keys: int = 0
    posts: int = 0
    created: int = 0
    double_creations: int = 0  # POSTs for an e-mail address that had an account

    def state(self, api: str) -> dict[str, Any]:
        """Everything but the key."""
        users = [account.item(api) | {"subject": account.subject} for account in self.accounts.starting_with()]
        counters = ("requests", "refused_keys", "posts", "created", "double_creations")
        return {"users": users} | {name: getattr(self, name) for name in counters}


class Hopsworks:
    def __init__(self) -> None:
        self.clusters: dict[str, HopsworksCluster] = {}

    async def answer(self, request: web.BaseRequest) -> web.Response:
        name, _, path = request.path.removeprefix(PREFIX).partition("/")
        cluster = self.clusters.get(name)
        if cluster is None:
            raise HopsworksRefusedError(404, f"the sandbox has no Hopsworks cluster {name!r}", NO_SUCH_PAGE)
        body = await request.read()
        try:
            return _answer(cluster, request, path, body)
        finally:
            # The request has been carried out: a caller who does not wait has an account all the same.
            await asyncio.sleep(cluster.latency_s)


def api_of(request: web.BaseRequest, cluster: HopsworksCluster) -> str:
    return f"{request.scheme}://{request.host}{PREFIX}{cluster.name}/{API}"


def _answer(cluster: HopsworksCluster, request: web.BaseRequest, path: str, body: bytes) -> web.Response:
    cluster.requests += 1
    if request.headers.get("Authorization") != f"ApiKey {cluster.api_key}":
        cluster.refused_keys += 1
        raise HopsworksRefusedError(401, "the API key is missing, or none of this cluster's")
    api = api_of(request, cluster)
    if path == USERS:
        return _answer_users(cluster, request, body, api)
    if path.startswith(f"{USERS}/"):
        account = existing(cluster.accounts, path.removeprefix(f"{USERS}/"))
        return _answer_user(account, request, body, api)
    raise HopsworksRefusedError(404, f"the sandbox has no {request.path}", NO_SUCH_PAGE)


def _answer_users(cluster: HopsworksCluster, request: web.BaseRequest, body: bytes, api: str) -> web.Response:
    match request.method:
        case "GET":
            return listed(cluster.accounts, request.query, api)
        case "POST":
            return created(_create(cluster, request, body), request.query, api)
    raise HopsworksRefusedError(405, "users are listed (GET) and created (POST)")


def _answer_user(account: Account, request: web.BaseRequest, body: bytes, api: str) -> web.Response:
    match request.method:
        case "GET":
            return answer(account.item(api))
        case "PUT":
            change(account, body)
            return answer(account.item(api))
    raise HopsworksRefusedError(405, "a user is read (GET) and changed (PUT)")


def _create(cluster: HopsworksCluster, request: web.BaseRequest, body: bytes) -> Account:
    cluster.posts += 1
    account = new_account(request.query, body)
    if cluster.accounts.of_email(account.email):
        cluster.double_creations += 1
        raise HopsworksRefusedError(409, "the e-mail address has an account")
    if cluster.accounts.of_subject(account.subject):
        raise HopsworksRefusedError(409, "the subject has an account")
    cluster.created += 1
    return cluster.accounts.add(account)
