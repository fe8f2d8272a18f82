"""Nobody needs to be a superuser: neither who migrates, nor a worker, with row level security on."""

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.database.migrate import migrate
from pgfleet.workers.reservation.machine import KIND
from worlds.fleet import assert_sound, settings_for, worker_on
from worlds.reservations import active, ask, ended

PASSWORD = uuid.uuid4().hex


@pytest.fixture
def logins(server_dsn: str) -> Iterator[tuple[str, str]]:
    """The DSN of a database's owner, who migrated it and may make roles, and of a login with the worker's role."""
    name = f"least_{uuid.uuid4().hex[:12]}"
    owner, worker = f"{name}_owner", f"{name}_worker"
    with psycopg.connect(server_dsn, autocommit=True) as admin:
        admin.execute(f"create role {owner} login createrole nosuperuser password '{PASSWORD}'")
        admin.execute(f"create role {worker} login nosuperuser password '{PASSWORD}'")
        admin.execute(f"create database {name} owner {owner}")
        try:
            migrate(as_login(server_dsn, owner, name), rls=True)
            admin.execute(f"grant pgfleet_worker to {worker}")
            yield as_login(server_dsn, owner, name), as_login(server_dsn, worker, name)
        finally:
            admin.execute(f"drop database {name} with (force)")
            admin.execute(f"reassign owned by {owner} to current_user")
            admin.execute(f"drop owned by {owner}, {worker}")
            admin.execute(f"drop role {worker}")
            admin.execute(f"drop role {owner}")


def test_an_owner_migrates_and_a_worker_works_under_row_level_security(logins: tuple[str, str], box: Box) -> None:
    owner_dsn, worker_dsn = logins
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        with worker_on(KIND, settings_for(worker_dsn, box)) as worker:
            row_id = active(owner, worker)
            ask(owner, "cancel", row_id)
            ended(owner, worker, row_id)

        assert_sound(owner)
        assert owner.execute("select count(*) from public.dead_letters").fetchone() == (0,)
    assert migrate(owner_dsn) == []


def as_login(server_dsn: str, role: str, database: str) -> str:
    parts = urlsplit(server_dsn)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{role}:{PASSWORD}@{host}", path=f"/{database}").geturl()
