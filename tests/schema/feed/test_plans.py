"""Reading the feed looks into its index and reads a few pages, whatever the planner knows, among many moves."""

import psycopg
import pytest

from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.filters import Filters
from worlds.database import Connection

MANY = 100_000
READ = """
select pg_stat_get_xact_numscans('public.status_history'::regclass),
  pg_stat_get_xact_tuples_returned('public.status_history_feed_idx'::regclass),
  pg_stat_get_xact_tuples_returned('public.status_history_pkey'::regclass)
"""
FILL = """
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor)
select 'node', n / 10, 'a', 'b', '', '' from generate_series(%s::integer, %s) n
"""


@pytest.fixture(params=["analyzed empty", "analyzed full", "never analyzed"])
def filled(conn: Connection, request: pytest.FixtureRequest) -> Connection:
    conn.execute("alter table public.status_history set (autovacuum_enabled = off)")
    if request.param == "analyzed empty":
        conn.execute("vacuum analyze public.status_history")
    for first in range(1, MANY, MANY // 10):
        conn.execute(FILL, (first, first + MANY // 10 - 1))
    if request.param == "analyzed full":
        conn.execute("vacuum analyze public.status_history")
    return conn


def _read(conn: Connection, cursor: Cursor, filters: Filters) -> tuple[int, int, int]:
    """How often the table was read whole, and how many entries of each index were."""
    with conn.transaction():
        before = conn.execute(READ).fetchone()
        reading.read(conn, cursor, filters, limit=100)
        after = conn.execute(READ).fetchone()
    assert before is not None
    assert after is not None
    whole, of_feed, of_rows = (now - then for now, then in zip(after, before, strict=True))
    return whole, of_feed, of_rows


def test_a_page_in_the_middle_reads_as_many_entries_as_it_has(filled: Connection) -> None:
    row = filled.execute(
        "select timeline, xact_id::text, history_id from public.status_history where row_id = '5000' limit 1"
    ).fetchone()
    assert row is not None

    whole, of_feed, of_rows = _read(filled, Cursor(row[0], int(row[1]), row[2]), Filters())

    assert (whole, of_rows) == (0, 0)
    # A few more, to look whether the position is one of this database's.
    assert 100 <= of_feed <= 110


def test_at_the_end_nothing_is_read(filled: Connection) -> None:
    whole, of_feed, of_rows = _read(filled, reading.end(filled), Filters())

    assert (whole, of_rows) == (0, 0)
    assert of_feed <= 2


def test_one_row_is_found_among_all_others_by_its_history(filled: Connection) -> None:
    whole, of_feed, of_rows = _read(filled, Cursor(1, 0, 0), Filters(row_id="5000", machines=frozenset({"node"})))

    assert whole == 0
    assert of_feed <= 2
    assert 10 <= of_rows <= 12


def test_moves_behind_an_open_transaction_are_not_walked_over(dsn: str, filled: Connection) -> None:
    """Each look ends where the transaction began, however many moves wait behind it."""
    with psycopg.connect(dsn) as holder:
        holder.execute("select pg_current_xact_id()")
        filled.execute(FILL, (MANY, MANY + 50_000))

        page = reading.read(filled, reading.end(filled))
        whole, of_feed, _ = _read(filled, reading.end(filled), Filters())

    assert page.events == []
    assert whole == 0
    assert of_feed <= 2
