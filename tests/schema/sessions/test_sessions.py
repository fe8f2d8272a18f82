"""A session has the settings that the program relies on, whatever the server, the database and the login say."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgfleet.schema.database.sessions import UnusableDatabase, connect, open_session
from worlds.database import Connection
from worlds.trouble.odd import odd_database

RELIED_ON = """
  select current_setting('client_encoding'), current_setting('DateStyle'), current_setting('IntervalStyle'),
    current_setting('TimeZone'), current_setting('search_path'), current_setting('transaction_isolation'),
    current_setting('statement_timeout'), current_setting('lock_timeout'),
    current_setting('idle_in_transaction_session_timeout'), current_setting('idle_session_timeout'),
    current_setting('standard_conforming_strings'), current_setting('session_replication_role'),
    coalesce(current_setting('restrict_nonsystem_relation_kind', true), '')
"""
AS_WE_NEED_THEM = (
    "UTF8",
    "ISO, MDY",
    "postgres",
    "UTC",
    "pg_catalog, pg_temp",
    "read committed",
    "0",
    "0",
    "0",
    "0",
    "on",
    "origin",
    "",
)


@pytest.fixture(scope="module")
def odd_dsn(server_dsn: str) -> Iterator[str]:
    with odd_database(server_dsn) as dsn:
        yield dsn


@pytest.mark.parametrize("opened", [connect, open_session])
def test_a_session_has_what_it_relies_on(
    odd_dsn: str, opened: Callable[[str], AbstractContextManager[Connection]]
) -> None:
    with opened(odd_dsn) as conn:
        conn.autocommit = True

        assert conn.execute(RELIED_ON).fetchone() == AS_WE_NEED_THEM
        assert conn.execute("select null = any(%s)", ([None, "x"],)).fetchone() == (None,)


def test_a_session_keeps_its_settings_when_a_transaction_is_rolled_back(odd_dsn: str) -> None:
    with open_session(odd_dsn) as conn:
        with pytest.raises(psycopg.errors.DivisionByZero):
            conn.execute("select 1 / 0")
        conn.rollback()

        assert conn.execute(RELIED_ON).fetchone() == AS_WE_NEED_THEM


def test_a_login_that_fires_no_triggers_and_may_not_change_that_is_refused(odd_dsn: str) -> None:
    with open_session(odd_dsn, autocommit=True) as admin:
        admin.execute("create role no_triggers login password 'x'")
        try:
            admin.execute("alter role no_triggers set session_replication_role = replica")
            dsn = make_conninfo(odd_dsn, user="no_triggers", password="x")  # noqa: S106 - of a test

            with pytest.raises(UnusableDatabase, match="session_replication_role"):
                connect(dsn)
        finally:
            admin.execute("drop role no_triggers")


def test_a_database_that_is_read_only_stays_so(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"alter database {admin.info.dbname} set default_transaction_read_only = on")

    with connect(dsn, autocommit=True) as conn, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        conn.execute("delete from public.moves")


def test_the_connection_string_comes_before_our_own_limits(dsn: str) -> None:
    with connect(f"{dsn}&connect_timeout=7&application_name=mine") as conn:
        said = conn.info.get_parameters()

    assert (said["connect_timeout"], said["application_name"], said["keepalives_idle"]) == ("7", "mine", "10")
