"""Connection strings: opening them, and showing them (or text around them) without their secrets."""

import re
from typing import Any

import psycopg

from pgfleet.schema.errors import FleetError

_SECRETS = r"(?:ssl)?password|oauth_client_secret|scram_client_key|scram_server_key"
_HIDDEN = (
    # A whole PostgreSQL URL: up to its last @, because people forget to encode the @ of a password.
    (re.compile(r"\A(\s*postgres(?:ql)?(?:\+\w+)?://[^:/?#@\s]*:).*@", re.DOTALL), r"\1***@"),
    (re.compile(r"(\bpostgres(?:ql)?(?:\+\w+)?://[^:/?#@\s]*:)\S*@"), r"\1***@"),
    (re.compile(r"(\b\w+://[^:/?#@\s]*:)[^/?#\s]*@"), r"\1***@"),
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


# A server that goes quiet (a failover, a partition) is noticed within half a minute, not when TCP gives up.
ALIVE: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def connect(dsn: str, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection that works through a transaction pooler too: nothing is prepared on the server.

    Raises:
        Unreachable: says why, and what to do.
    """
    if _SEVERAL_AT.match(dsn):
        # libpq would take the rest of the password for a host, and print it.
        raise Unreachable("The database URL has more than one @. In its password write @ as %40.")
    try:
        return psycopg.connect(dsn, prepare_threshold=None, **{**ALIVE, **options})
    except psycopg.OperationalError as error:
        raise Unreachable(
            f"Can't reach PostgreSQL at {redact(dsn)}\n{redact(str(error)).strip()}\n"
            "Check DATABASE_URL; the embedded server's is printed by `pgfleet db url`."
        ) from None
    except psycopg.ProgrammingError:
        # Its text quotes pieces of the string, and so of the password.
        raise Unreachable(
            "The connection string can't be read. Give a URL (postgresql://user:password@host/database), "
            "with special characters in the password percent-encoded."
        ) from None


def is_pooler(conn: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Whether somebody between us and the server hands out its connections: then we don't speak with who we think."""
    row = conn.execute("select pg_backend_pid()").fetchone()
    return row is not None and row[0] != conn.info.backend_pid
