"""What tests of what hangs, dies or can't be read share."""

from collections.abc import Iterator

import pytest

from worlds.small.world import Small


@pytest.fixture
def any_time(small: Small) -> Iterator[None]:
    """A queue of before, which took times that nobody can read."""
    asked = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'times_have_an_end' and conrelid = %s"
    kept = small.one(asked + "::regclass", ("pgmq.q_small_jobs",))
    small.conn.execute("alter table pgmq.q_small_jobs drop constraint times_have_an_end")
    yield
    small.conn.execute("truncate pgmq.q_small_jobs")
    small.conn.execute(f"alter table pgmq.q_small_jobs add constraint times_have_an_end {kept}".encode())
