"""A database and a login whose settings are all as odd as they can be."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from worlds.database import fresh_database

OF_THE_DATABASE = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Pacific/Chatham",
    "search_path": "hostile, pg_catalog",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "client_encoding": "SQL_ASCII",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "jit": "on",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
    "session_replication_role": "replica",
    "row_security": "off",
    "xmlbinary": "hex",
    "default_text_search_config": "pg_catalog.simple",
    "lc_numeric": "C",
}
OF_THE_LOGIN = {
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "client_encoding": "LATIN1",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "-15",
}
# What an unqualified name would find first.
HOSTILE = """
  create schema hostile;
  create function hostile.lower(text) returns text language sql as $$ select 'hostile' $$;
  create function hostile.now() returns timestamptz language sql as $$ select timestamptz '1999-01-01' $$;
  create function hostile.never(text, text) returns boolean language sql as $$ select false $$;
  create operator hostile.= (leftarg = text, rightarg = text, function = hostile.never);
"""


@contextmanager
def odd_database(server_dsn: str) -> Iterator[str]:
    """A new database with nothing of ours in it, for a login that may do all; gone afterwards, both of them."""
    login, password = f"odd_{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    role = sql.Identifier(login)
    with psycopg.connect(server_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} login superuser password {}").format(role, sql.Literal(password)))
        _set(admin, sql.SQL("role {}").format(role), OF_THE_LOGIN)
        try:
            with fresh_database(server_dsn) as dsn:
                database = urlsplit(dsn)
                with psycopg.connect(dsn, autocommit=True) as owner:
                    owner.execute(HOSTILE)
                _set(admin, sql.SQL("database {}").format(sql.Identifier(database.path[1:])), OF_THE_DATABASE)
                host = database.netloc.rpartition("@")[2]
                yield database._replace(netloc=f"{login}:{password}@{host}").geturl()
        finally:
            admin.execute(sql.SQL("drop role {}").format(role))


def _set(admin: psycopg.Connection, whose: sql.Composed, settings: dict[str, str]) -> None:
    for setting, value in settings.items():
        names = sql.SQL(value) if setting == "search_path" else sql.Literal(value)
        admin.execute(sql.SQL("alter {} set {} = {}").format(whose, sql.Identifier(setting), names))
