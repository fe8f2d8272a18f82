"""What keeps the API from being ready, looked at without a process."""

from collections.abc import Iterator
from functools import partial

import pytest

from pgfleet.producers.http.health.ending import Ending
from pgfleet.producers.http.health.readiness import Lack, Readiness
from pgfleet.schema.database.pool import Pool
from pgfleet.schema.database.sessions import open_session
from worlds.database import Connection


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with Pool(partial(open_session, dsn, autocommit=True), 1) as pool:
        yield pool


def readiness(pool: Pool, *gateway: str, ending: Ending | None = None, every_s: float = 0) -> Readiness:
    made = Readiness(pool, lambda: list(gateway), ending or Ending(), 0.01, every_s)
    made.look()
    return made


def test_a_database_that_has_all_is_ready(pool: Pool) -> None:
    assert readiness(pool).lacks() == []


def test_what_the_schema_lacks_is_told_by_its_name(pool: Pool, conn: Connection) -> None:
    """Where it is taken away while the API runs; at the next look at the schema, not at each."""
    conn.execute("drop view public.forgotten_reservation cascade")

    assert readiness(pool, every_s=3600).lacks() == []
    lacks = readiness(pool).lacks()

    assert {lack.what for lack in lacks} == {"the schema is not as this version needs it"}
    assert "view public.forgotten_reservation" in {lack.why for lack in lacks}


def test_heartbeats_that_cannot_be_sent_are_told(pool: Pool) -> None:
    assert readiness(pool, "no room").lacks() == [Lack("heartbeats can't be sent", "no room")]


def test_no_session_that_is_free_is_no_answer(pool: Pool) -> None:
    with pool.connection():
        assert pool.in_use == 1
        (lack,) = readiness(pool).lacks()

    assert lack.what == "the database does not answer"
    assert pool.in_use == 0


def test_a_process_that_ends_is_not_ready_whatever_was_seen(pool: Pool) -> None:
    ending = Ending()
    seen = readiness(pool, ending=ending)

    ending.begin()

    assert [str(lack) for lack in seen.lacks()] == ["this process ends"]
