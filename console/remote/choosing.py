"""Where a command goes: to the API that PGFLEET_URL or `pgfleet login` names, or to a database."""

import os
from ipaddress import ip_address
from urllib.parse import urlsplit

from pgfleet.console.remote import credentials
from pgfleet.schema.errors import FleetError

URL, KEY, ALLOW_HTTP = "PGFLEET_URL", "PGFLEET_KEY", "PGFLEET_ALLOW_HTTP"
# What names a database goes before a login that was saved once.
DATABASES = ("DATABASE_URL", "PGFLEET_DATA_DIR")

# Commands that work through the API: the function of each, or what its group has, by the names of its commands.
THROUGH_THE_API = {
    "submit": "submit:app",
    "ls": "listing:reservations",
    "watch": "watch:watch",
    "logs": "access:logs",
    "ssh": "access:ssh",
    "cancel": "requests:cancel",
    "extend": "requests:extend",
    "jupyter": "access:JUPYTER",
    "add-user": "requests:add_user",
    "retry": "requests:retry",
    "disk": "disks:DISKS",
    "types": "capacity:TYPES",
    "lines": "capacity:LINES",
    "usage": "usage:usage",
    "subscribe": "events:subscribe",
    "unsubscribe": "events:unsubscribe",
    "subscriptions": "events:SUBSCRIPTIONS",
    "deliveries": "events:deliveries",
    "keys": "keys:KEYS",
    "whoami": "whoami:whoami",
    "queues": "operators:queues",
    "dead": "operators:DEAD",
    "doctor": "operators:doctor",
}
# Commands that choose their APIs themselves.
SIGNING = frozenset({"login", "logout", "cells"})
# With those that run something here: no one API has to do with them.
HERE = frozenset({"demo", "up", "simulate", "serve", "worker", "db", "migrate"}) | SIGNING


def api_url() -> str | None:
    """The API that commands use; None where they use a database.

    PGFLEET_URL first, as it is for nothing else (empty, it says that no API is wanted); then DATABASE_URL or
    PGFLEET_DATA_DIR, which name a database; then what `pgfleet login` has kept.

    Raises:
        FleetError: the URL, or the file of keys, can't be used.
    """
    given = os.environ.get(URL)
    if given is not None:
        return checked(given) if given.strip() else None
    if any(os.environ.get(name) for name in DATABASES):
        return None
    return credentials.read().current


def checked(given: str) -> str:
    """A URL as it is kept: without a path's last slash.

    Raises:
        FleetError: it is no URL of an API, or a key would cross a network that anybody may read.
    """
    url = given.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, has_port = parts.hostname, parts.port is not None
    except ValueError:
        raise FleetError(f"{URL}: this is no URL; it is like https://fleet.example.org") from None
    if parts.scheme not in ("http", "https") or not host or (has_port and parts.port == 0):
        raise FleetError(f"{URL}: this is no URL of an API; it is like https://fleet.example.org")
    if parts.username is not None or parts.query or parts.fragment:
        raise FleetError(f"{URL}: it has no name, password, query or fragment; keys are kept by `pgfleet login`")
    if parts.scheme == "http" and not _is_here(host) and os.environ.get(ALLOW_HTTP) != "1":
        raise FleetError(
            f"{parts.scheme}://{host} is not encrypted: whoever is on the way would read your key, so it is not sent. "
            f"Use https, or set {ALLOW_HTTP}=1 where you know the way."
        )
    return url


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
