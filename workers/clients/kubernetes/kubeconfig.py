"""Kubeconfigs that operators store: read as the data they are.

They are secrets: nothing in one is run, no file that one names is opened, and no error or text of this module holds
any of it.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes import client

from pgfleet.workers.runtime.outcomes import NeverError

TOKEN = re.compile(r"[\x21-\x7e]+")
# Fields that would open files or run programs, and a way to sign in that Kubernetes has given up.
REFUSED_OF_CLUSTERS = {"certificate-authority": "names a file"}
REFUSED_OF_USERS = {
    "exec": "runs a program",
    "auth-provider": "may run a program",
    "tokenFile": "names a file",
    "client-certificate": "names a file",
    "client-key": "names a file",
    "username": "goes with a password, which Kubernetes takes no more",
}
NOTHING = ("", "null", "~")
NO = ("false", "no", "off")


@dataclass(frozen=True, slots=True)
class Place:
    """A server and how to sign in there; certificates, keys and tokens are inline."""

    server: str = field(repr=False)
    ca: str | None = field(repr=False)
    tls_server_name: str | None = field(repr=False)
    proxy: str | None = field(repr=False)
    token: str | None = field(repr=False)
    certificate: bytes | None = field(repr=False)
    key: bytes | None = field(repr=False)

    def configuration(self, folder: Path) -> client.Configuration:
        """As the official client wants it, which reads a client's certificate and key from files only."""
        configuration = client.Configuration(
            host=self.server,
            api_key={"BearerToken": f"Bearer {self.token}"} if self.token else None,
            ca_cert_data=self.ca,
            cert_file=_file(folder / "certificate", self.certificate),
            key_file=_file(folder / "key", self.key),
            tls_server_name=self.tls_server_name,
            proxy=self.proxy,
            connection_pool_maxsize=1,
        )
        configuration.retries = False
        return configuration


def _file(path: Path, content: bytes | None) -> str | None:
    if content is None:
        return None
    path.write_bytes(content)
    return str(path)


def read_kubeconfig(text: str) -> Place:
    """The server of the current context, and its user.

    Raises:
        NeverError: it can't be used, or asks for what is not done here; the reason shows nothing of it.
    """
    document = _document(text)
    context = _named(document, "contexts", "context", _text(document, "current-context"), "current context")
    cluster = _named(document, "clusters", "cluster", _text(context, "cluster"), "context's cluster")
    user = _named(document, "users", "user", _text(context, "user"), "context's user")
    _refuse(cluster, REFUSED_OF_CLUSTERS, "cluster")
    _refuse(user, REFUSED_OF_USERS, "user")
    server = _address(cluster, "server")
    if server is None:
        raise NeverError("the kubeconfig's cluster has no server")
    skips = _text(cluster, "insecure-skip-tls-verify")
    if skips and skips.lower() not in NO and server.lower().startswith("https:"):
        raise NeverError("the kubeconfig says insecure-skip-tls-verify: servers are verified here")
    return Place(
        server=server,
        ca=_ca(cluster),
        tls_server_name=_text(cluster, "tls-server-name"),
        proxy=_address(cluster, "proxy-url"),
        token=_token(user),
        certificate=_data(user, "client-certificate-data"),
        key=_data(user, "client-key-data"),
    )


def _document(text: str) -> Mapping[str, Any]:
    try:
        # All scalars stay text: nothing is made of what is written, and a token of digits keeps its zeros.
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # makes text, lists and mappings only
    except (yaml.YAMLError, RecursionError, ValueError):
        raise NeverError("the kubeconfig is no YAML") from None
    if not isinstance(document, Mapping):
        raise NeverError("the kubeconfig is no YAML mapping")
    return document


def _named(document: Mapping[str, Any], many: str, one: str, name: str | None, what: str) -> Mapping[str, Any]:
    """The entry of a name in one of the three lists."""
    if name is None:
        raise NeverError(f"the kubeconfig names no {what}")
    entries = document.get(many)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and entry.get("name") == name:
            found = entry.get(one)
            return found if isinstance(found, Mapping) else {}
    raise NeverError(f"the kubeconfig's {what} is not in it")


def _text(mapping: Mapping[str, Any], key: str) -> str | None:
    value = mapping.get(key)
    return value if isinstance(value, str) and value not in NOTHING else None


def _refuse(mapping: Mapping[str, Any], refused: Mapping[str, str], what: str) -> None:
    for key, why in refused.items():
        value = mapping.get(key)
        if value and value not in NOTHING:
            raise NeverError(f"the kubeconfig's {what} has {key}, which {why}: only what is inline is used")


def _address(mapping: Mapping[str, Any], key: str) -> str | None:
    text = _text(mapping, key)
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.scheme not in ("http", "https") or parts.username or parts.query or parts.fragment:
        raise NeverError(f"the kubeconfig's {key} is no plain http(s) address")
    return text.rstrip("/")


def _token(user: Mapping[str, Any]) -> str | None:
    token = _text(user, "token")
    if token is not None and not TOKEN.fullmatch(token):
        raise NeverError("the kubeconfig's token has characters that no token has")
    return token


def _ca(cluster: Mapping[str, Any]) -> str | None:
    data = _data(cluster, "certificate-authority-data")
    try:
        return None if data is None else data.decode("ascii")
    except UnicodeDecodeError:
        raise NeverError("the kubeconfig's certificate-authority-data is no PEM") from None


def _data(mapping: Mapping[str, Any], key: str) -> bytes | None:
    text = _text(mapping, key)
    try:
        return None if text is None else base64.b64decode(text)
    except (binascii.Error, ValueError):
        raise NeverError(f"the kubeconfig's {key} is no base64") from None
