"""One database for the tests of a file, emptied of people for each, and the API's login on it."""

from collections.abc import Iterator

import psycopg
import pytest

from pgfleet.schema.identity import passwords
from worlds.database import Connection
from worlds.fleet import stop_clock
from worlds.identity.people import PASSWORD
from worlds.strangers import stranger_dsn


@pytest.fixture(scope="session")
def password_hash() -> str:
    """Made once, as it takes a quarter of a second."""
    return passwords.hash_of(PASSWORD)


@pytest.fixture
def owner(fleet_dsn: str) -> Iterator[Connection]:
    """Who owns the tables, as an operator's console."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        conn.execute("truncate autoscaler.users, public.api_users, public.sign_in_failures, public.refusals cascade")
        conn.execute("delete from public.reservations")
        conn.execute("delete from autoscaler.audit_logs")
        stop_clock(conn)
        yield conn


@pytest.fixture
def api_dsn(fleet_dsn: str, owner: Connection) -> Iterator[str]:
    """The connection string of the API's login."""
    with stranger_dsn(fleet_dsn, role="pgfleet_serve", queues=()) as own:
        yield own


@pytest.fixture
def api(api_dsn: str) -> Iterator[Connection]:
    """A connection of the API's login."""
    with psycopg.connect(api_dsn, autocommit=True) as conn:
        yield conn
