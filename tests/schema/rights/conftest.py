"""One database for all of these tests, each in a transaction that is rolled back, and logins that may little."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from worlds.database import Connection, fresh_database


@pytest.fixture(scope="module")
def shared(server_dsn: str, template: str) -> Iterator[Connection]:
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def db(shared: Connection) -> Iterator[Connection]:
    """As a superuser, until a test acts as somebody else."""
    with shared.transaction(force_rollback=True):
        yield shared


@pytest.fixture
def login(db: Connection) -> str:
    """Of nobody: in no role, with a look at our schemas alone; gone with the test's transaction."""
    name = f"nobody_{uuid.uuid4().hex[:8]}"
    db.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
    db.execute(
        sql.SQL("grant usage on schema public, hopsworks, autoscaler, clusters to {}").format(sql.Identifier(name))
    )
    return name
