"""What a setting may be, as text of the environment: an address of a database or a proxy, seconds, lists."""

import re
from ipaddress import ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from pgfleet.schema.database.dsn import Unreachable, as_libpq


def _libpq(dsn: SecretStr) -> SecretStr:
    try:
        return SecretStr(as_libpq(dsn.get_secret_value()))
    except Unreachable as error:
        raise ValueError(str(error)) from None


def a_proxy(url: SecretStr) -> SecretStr:
    address = urlsplit(url.get_secret_value())
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError("must be the http(s) address of a proxy")
    return url


def a_domain(name: str) -> str:
    name = name.lower().strip(".")
    # With the label of a reservation before it, a name may have 253 characters.
    if len(name) > 180 or not re.fullmatch(
        r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name
    ):
        raise ValueError("must be a domain, such as gpu.example.org")
    return name


# Whatever libpq takes: a URL, keywords and values, `service=...`; also SQLAlchemy's postgresql+psycopg://.
Dsn = Annotated[SecretStr, AfterValidator(_libpq)]
Seconds = Annotated[float, Field(gt=0)]
# As Kubernetes takes it, with a domain or without.
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"


def _listed(given: Any) -> Any:
    return [one.strip() for one in given.split(",")] if isinstance(given, str) else given


# In the environment: `30,15,5`.
Minutes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=10_000)], ...],
    NoDecode,
    BeforeValidator(_listed),
    Field(min_length=1, max_length=10),
]


def _reach(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(ip_network(one, strict=False)) if _is_range(one) else _host(one) for one in given)


def _is_range(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _host(name: str) -> str:
    name = name.lower().rstrip(".")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name):
        raise ValueError("must be hosts, such as chat.example.org, and networks, such as 10.2.0.0/16")
    return name


# In the environment: `chat.example.org,10.2.0.0/16`.
Places = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_reach)]
