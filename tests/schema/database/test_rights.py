"""Nobody needs to be a superuser: neither who migrates, nor a worker, with row level security on."""

from collections.abc import Iterator
from functools import partial

import psycopg
import pytest

from pgfleet.console.sandbox.box import Box
from pgfleet.schema.database.migrate import migrate
from pgfleet.workers.reservation.machine import KIND
from worlds.database import owner_and_worker
from worlds.fleet import Connection, assert_sound, move_clock, settings_for, worker_on
from worlds.reservations import active, ask, create, ended, reach


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


def count(conn: Connection, statement: str) -> int:
    row = conn.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_a_workers_login_is_enough_for_the_watch_for_outages_and_for_quarantine(
    logins: tuple[str, str], box: Box
) -> None:
    owner_dsn, worker_dsn = logins
    with (
        psycopg.connect(owner_dsn, autocommit=True) as owner,
        worker_on(KIND, settings_for(worker_dsn, box), watches=True) as worker,
    ):
        row_id = active(owner, worker)
        for seen in ("gpu_nodes", "gpu_pods", "gpu_looks where seen_at is not null"):
            worker.run_until(partial(count, owner, f"select count(*) from public.{seen}"))
        box.fault("/pods$", method="POST", times=100_000, status=500)
        waits = create(owner)
        worker.run_until(lambda: count(owner, "select count(*) from public.outages where ended_at is null"))
        box.clear_faults()
        move_clock(owner, 61)
        reach(owner, worker, waits, "active")
        ask(owner, "cancel", row_id)
        ended(owner, worker, row_id)

        assert count(owner, "select count(*) from public.outages where ended_at is null") == 0
        assert_sound(owner)
