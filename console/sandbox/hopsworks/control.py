"""`/_sandbox/hopsworks/<name>`: clusters are made and shown, and their accounts are changed from outside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.hopsworks.accounts import FIELDS, Account
from pgfleet.console.sandbox.hopsworks.servers import Hopsworks, HopsworksCluster, api_of
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

FIRST_KEY = "sandbox"  # of a cluster that is made without one
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PLANTED = FIELDS | {"subject": "subject"}

Body = dict[str, Any]


class HopsworksControl:
    def __init__(self, hopsworks: Hopsworks) -> None:
        self._clusters = hopsworks.clusters

    def answer(self, request: web.BaseRequest, path: Sequence[str], body: Body) -> Body:
        """`path` starts with the cluster's name. Raises `RefusedError`."""
        match request.method, path:
            case "POST", [name]:
                self._make(name, body)
                return {}
            case "GET", [name]:
                cluster = self._existing(name)
                return cluster.state(api_of(request, cluster))
            case "POST", [name, "users"]:
                cluster = self._existing(name)
                return _plant(cluster, body).item(api_of(request, cluster))
            case "DELETE", [name, "users"]:
                _forget(self._existing(name), str(body.get("email", "")))
                return {}
        raise RefusedError(404, f"the sandbox has no {request.method} {request.path}")

    def _make(self, name: str, wanted: Body) -> None:
        """A cluster that exists keeps its accounts, and its key unless there is a new one."""
        if not NAME.fullmatch(name):
            raise RefusedError(400, f"a Hopsworks cluster's name is letters, digits, dots and dashes, not {name!r}")
        cluster = self._clusters.setdefault(name, HopsworksCluster(name, FIRST_KEY))
        cluster.api_key = wanted.get("api_key") or cluster.api_key
        cluster.latency_s = float(wanted.get("latency_s", 0.0))

    def _existing(self, name: str) -> HopsworksCluster:
        if name not in self._clusters:
            raise RefusedError(404, f"there is no Hopsworks cluster {name!r}")
        return self._clusters[name]


def _plant(cluster: HopsworksCluster, wanted: Body) -> Account:
    unknown = set(wanted) - set(PLANTED)
    if unknown or not wanted.get("email"):
        raise RefusedError(400, f"an account has an email and some of {sorted(PLANTED)}, not {sorted(unknown)}")
    account = Account(**{PLANTED[name]: value for name, value in wanted.items() if value is not None})
    return cluster.accounts.add(account)


def _forget(cluster: HopsworksCluster, email: str) -> None:
    account = cluster.accounts.of_email(email)
    if account is None:
        raise RefusedError(404, f"{email!r} has no account on {cluster.name}")
    cluster.accounts.remove(account)
