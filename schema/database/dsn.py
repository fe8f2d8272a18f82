"""Connection strings: reading them, and showing them (or text around them) without their secrets."""

import re
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgfleet.schema.errors import FleetError

_SECRETS = r"(?:ssl)?password|oauth_client_secret|scram_client_key|scram_server_key"
_HIDDEN = (
    # A whole PostgreSQL URL: up to its last @, because people forget to encode the @ of a password.
    (re.compile(r"\A(\s*postgres(?:ql)?(?:\+\w+)?://[^:/?#@\s]*:).*@", re.DOTALL), r"\1***@"),
    # Elsewhere a password has a limit, as text of others may hold thousands of beginnings of a URL, and no @.
    (re.compile(r"(\bpostgres(?:ql)?(?:\+\w+)?://[^:/?#@\s]*:)\S{0,2000}@"), r"\1***@"),
    (re.compile(r"(\b\w+://[^:/?#@\s]*:)[^/?#\s]{0,2000}@"), r"\1***@"),
    # libpq takes blanks in a URL for what they are; elsewhere they end it.
    (re.compile(rf"(\A\s*postgres[^?\n]*\?(?:[^\n]*&)?(?:{_SECRETS})=)[^&\n]*", re.IGNORECASE), r"\1***"),
    (re.compile(rf"([?&](?:{_SECRETS})=)[^&\s]*", re.IGNORECASE), r"\1***"),
    # keyword = value, where the value may be quoted, with backslashes.
    (
        re.compile(
            rf"(?<![?&\w])((?:{_SECRETS})\s*=\s*)(?:'(?:\\.|[^'\\])*(?:'|\Z)|(?:\\.|\S)+)",
            re.IGNORECASE | re.DOTALL,
        ),
        r"\1***",
    ),
)
_DRIVER = re.compile(r"\A(postgres(?:ql)?)\+\w+://")
_SEVERAL_AT = re.compile(r"\Apostgres(?:ql)?://[^?#]*@[^?#]*@")


class Unreachable(FleetError):
    """The database can't be reached with the connection string given; the message holds no secret."""


def redact(text: str) -> str:
    """A connection string, or any text that holds some, with `***` for passwords.

    Rather hides too much than too little: a URL whose password holds a bare @ loses all up to the last one.
    """
    for secret, shown in _HIDDEN:
        text = secret.sub(shown, text)
    return text


def as_libpq(dsn: str) -> str:
    """The connection string as libpq takes it: without the driver of SQLAlchemy's (`postgresql+psycopg://`).

    Raises:
        Unreachable: it can't be read. Nothing of it is quoted, as that may be a piece of the password.
    """
    plain = _DRIVER.sub(r"\1://", dsn)
    if _SEVERAL_AT.match(plain):
        # libpq would take the rest of the password for a host, and print it.
        raise Unreachable("The database URL has more than one @. In its password write @ as %40.")
    try:
        said = conninfo_to_dict(plain)
    except psycopg.ProgrammingError:
        raise Unreachable(
            "The connection string can't be read. Give a URL (postgresql://user:password@host/database), "
            "with special characters in the password percent-encoded; or what libpq takes (host=... dbname=...)."
        ) from None
    if not re.fullmatch(r"\s*[+-]?\d{1,9}\s*|", str(said.get("connect_timeout") or "")):
        raise Unreachable("connect_timeout in the connection string must be a number of seconds.")
    return plain


def at_database(dsn: str, name: str) -> str:
    """The connection string of another database of the same server, in libpq's form of keywords and values."""
    return make_conninfo(as_libpq(dsn), dbname=name)


def url_of(dsn: str) -> str:
    """The same as a URL, for programs that take nothing else; what it leaves out is left to the PG* variables."""
    said = conninfo_to_dict(as_libpq(dsn))
    user, password, database = (quote(str(said.pop(name, "")), safe="") for name in ("user", "password", "dbname"))
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    return f"postgresql://{login}/{database}?{urlencode(said, quote_via=quote)}"
