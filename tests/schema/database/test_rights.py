"""Nobody needs to be a superuser: neither who migrates, nor a worker, with row level security on."""

from collections.abc import Iterator

import psycopg
import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.database.migrate import migrate
from pgfleet.workers.reservation.machine import KIND
from worlds.database import owner_and_worker
from worlds.fleet import assert_sound, settings_for, worker_on
from worlds.reservations import active, ask, ended


@pytest.fixture
def logins(server_dsn: str) -> Iterator[tuple[str, str]]:
    """The DSN of a database's owner, who migrated it and may make roles, and of a login with the worker's role."""
    with owner_and_worker(server_dsn) as (owner_dsn, worker_dsn):
        migrate(owner_dsn, rls=True)
        yield owner_dsn, worker_dsn


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
