"""The one place where sessions with PostgreSQL are opened. Each relies on no setting that it has not made itself.

A session of our own is set whole. Behind a transaction pooler a session is everybody's: there only what poolers keep
apart for each client is set, and what can't be set and would change what we do is refused by name. One setting is
left as it comes, `default_transaction_read_only`: who makes a database or a login read-only wants nothing written.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pgfleet.schema.database.deadline import LONGEST_S, Session
from pgfleet.schema.database.dsn import Unreachable, as_libpq, redact
from pgfleet.schema.errors import FleetError

Connection = psycopg.Connection[tuple[Any, ...]]

# A server that goes quiet (a failover, a partition) is noticed within half a minute, not when TCP gives up.
ALIVE: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

ENCODING = "UTF8"
# Poolers keep these apart for each client, and `client_encoding`, which the start of a session names.
_APART_IN_A_POOLER = {"DateStyle": "ISO, MDY", "TimeZone": "UTC", "standard_conforming_strings": "on"}
# Behind a pooler these can't be set, and we would do something else, or nothing, where they are other ones.
_REFUSED_IN_A_POOLER = {
    "IntervalStyle": "postgres",
    "default_transaction_isolation": "read committed",
    "array_nulls": "on",
    "row_security": "on",
    # As a replica, no trigger writes history or counts, and none refuses a move.
    "session_replication_role": "origin",
    # Anything else keeps us from our own views.
    "restrict_nonsystem_relation_kind": "",
}
_OURS = {
    **_REFUSED_IN_A_POOLER,
    # All that is ours is named with its schema; so nobody's function or operator comes before one of PostgreSQL.
    "search_path": "pg_catalog, pg_temp",
    "default_transaction_deferrable": "off",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    # Our statements take milliseconds; one that looks expensive to the planner would be compiled for half a second.
    "jit": "off",
    **dict.fromkeys(
        (
            "statement_timeout",
            "lock_timeout",
            "transaction_timeout",
            "idle_in_transaction_session_timeout",
            "idle_session_timeout",
        ),
        "0",
    ),
}
_SETTINGS = {**_APART_IN_A_POOLER, **_OURS}
# The names are those of PostgreSQL's own schema, as nobody knows yet what the search_path finds first. What a server
# does not know (`transaction_timeout` before 17) is left out. What only a superuser may set is left alone where it is
# as it should be; the others are set even so, as a reload of the server's settings would change them.
_SET = """
  select wanted.name,
    case
      when wanted.name operator(pg_catalog.=) 'session_replication_role'
        and pg_catalog.current_setting(wanted.name) operator(pg_catalog.=) wanted.value
      then wanted.value
      when wanted.anyway or pg_catalog.pg_backend_pid() operator(pg_catalog.=) %(pid)s
      then pg_catalog.set_config(wanted.name, wanted.value, false)
      else pg_catalog.current_setting(wanted.name)
    end
  from rows from (
    pg_catalog.unnest(%(names)s::pg_catalog.text[]), pg_catalog.unnest(%(values)s::pg_catalog.text[]),
    pg_catalog.unnest(%(anyway)s::pg_catalog.bool[])) as wanted (name, value, anyway)
  where pg_catalog.current_setting(wanted.name, true) is not null
"""
# A login may be given a limit so short that even this is cut off now and then.
_TRIES = 5


class UnusableDatabase(FleetError):
    """The database, or the sessions of a pooler, are not such that the program could work there."""


def connect(dsn: str, *, autocommit: bool = False, **options: Any) -> Connection:
    """A session for a command, or for the start of a service, in a database that the program can use.

    Raises:
        Unreachable, UnusableDatabase: says why, and what to do; without the secrets of the connection string.
    """
    try:
        conn = _connected(dsn, **options)
        with _closed_unless_usable(conn):
            came_with = make_settings(conn)
            _refuse_other_encodings(conn)
            _refuse_odd_pooler(came_with)
            conn.autocommit = autocommit
            return conn
    except psycopg.errors.InsufficientPrivilege as error:
        raise UnusableDatabase(
            f"The settings of this login can't be used: {error.diag.message_primary}.\n"
            "Somebody has set it for the login or the database. Take that back: alter role (or database) ... reset ..."
        ) from None
    except psycopg.OperationalError as error:
        raise Unreachable(
            f"Can't reach PostgreSQL at {redact(dsn) or 'the place that the PG* variables name'}\n"
            f"{redact(str(error)).strip()}\n"
            "Check DATABASE_URL; the embedded server's is printed by `pgfleet db url`."
        ) from None


def open_session(dsn: str, *, autocommit: bool = False, **options: Any) -> Connection:
    """A session for a thread of a service that has started, or in a database that is not ours.

    `options` are libpq's, and two of ours: `longest_s`, how long a wait for the server may last (None: for ever), and
    `writes`, which asks for a server that can be written to.

    Raises:
        psycopg.OperationalError: it can't be reached.
        Unreachable: the connection string can't be read.
    """
    conn = _connected(dsn, **options)
    with _closed_unless_usable(conn):
        make_settings(conn)
        conn.autocommit = autocommit
        return conn


def make_settings(conn: Connection) -> dict[str, str]:
    """Set what the program relies on, in a session of autocommit that was just opened; what it is set to now."""
    conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    wanted = {
        "pid": conn.info.backend_pid,
        "names": list(_SETTINGS),
        "values": list(_SETTINGS.values()),
        "anyway": [name in _APART_IN_A_POOLER for name in _SETTINGS],
    }
    for _ in range(_TRIES - 1):
        with suppress(psycopg.errors.QueryCanceled):
            return dict(conn.execute(_SET, wanted).fetchall())
    return dict(conn.execute(_SET, wanted).fetchall())


def is_pooler(conn: Connection) -> bool:
    """Whether somebody between us and the server hands out its connections: then we don't speak with who we think."""
    row = conn.execute("select pg_catalog.pg_backend_pid()").fetchone()
    return row is not None and row[0] != conn.info.backend_pid


def _connected(dsn: str, *, longest_s: float | None = LONGEST_S, writes: bool = False, **options: Any) -> Connection:
    """Through a pooler, too: nothing is prepared on the server."""
    given = {"prepare_threshold": None, **_options(dsn, writes=writes), **options}
    conn = Session.connect(as_libpq(dsn), autocommit=True, **given)
    conn.longest_s = longest_s
    return conn


def _options(dsn: str, *, writes: bool) -> dict[str, Any]:
    """What a connection string says comes before what we would choose, but for the encoding."""
    said = conninfo_to_dict(as_libpq(dsn))
    chosen = dict(ALIVE)
    if (writes or "," in str(said.get("host", os.environ.get("PGHOST")))) and "PGTARGETSESSIONATTRS" not in os.environ:
        # Of several hosts one is the primary, and which one changes.
        chosen["target_session_attrs"] = "read-write"
    return {**{name: value for name, value in chosen.items() if name not in said}, "client_encoding": ENCODING}


@contextmanager
def _closed_unless_usable(conn: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        conn.close()
        raise


def _refuse_other_encodings(conn: Connection) -> None:
    """What people write is in any script, which a database of another encoding can't hold."""
    encoding = conn.info.parameter_status("server_encoding")
    if encoding not in (None, ENCODING):
        raise UnusableDatabase(
            f"The database {conn.info.dbname} is encoded in {encoding}, and pgfleet needs {ENCODING}. That can't be "
            f"changed: make another one (create database NAME encoding '{ENCODING}' template template0), and name it "
            "in DATABASE_URL."
        )


def _refuse_odd_pooler(settings: dict[str, str]) -> None:
    odd = {
        name: settings[name] for name, wanted in _REFUSED_IN_A_POOLER.items() if settings.get(name, wanted) != wanted
    }
    if odd:
        raise UnusableDatabase(
            f"Sessions of this pooler come with {_listed(odd)}, and none can be set for itself.\n"
            f"Set {_listed({name: _SETTINGS[name] for name in odd})} for the login (alter role ... set ...), or name "
            "the server itself in DATABASE_URL."
        )


def _listed(settings: dict[str, str]) -> str:
    return ", ".join(f"{name} = '{value}'" for name, value in settings.items())
