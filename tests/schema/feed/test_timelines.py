"""A database that was restored, and positions that are not those of this one: nothing is missed, and it is told."""

from collections import Counter

import psycopg
import pytest

from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import BEGINNING, Cursor, CursorTooOld
from pgfleet.schema.feed.event import Event
from pgfleet.schema.feed.filters import Filters
from worlds.database import Connection, by_psql, run_program
from worlds.feed.moves import make

KNOWN = "select timeline from public.feed_timelines order by timeline"


def all_after(conn: Connection, cursor: Cursor) -> list[Event]:
    events: list[Event] = []
    while (page := reading.read(conn, cursor, limit=2)).cursor != cursor:
        events += page.events
        cursor = page.cursor
    return events


def test_a_restored_dump_is_a_new_timeline_and_a_reader_of_before_misses_nothing(
    dsn: str, conn: Connection, empty_dsn: str
) -> None:
    """Also not what was moved there before anybody had looked."""
    reading.note_timeline(conn)
    for row_id in ("a", "b", "c"):
        make(conn, row_id)
    first = reading.read(conn, BEGINNING, limit=1).cursor
    conn.execute("update public.feed_timelines set seen_at = seen_at - interval '2 minutes'")
    assert reading.note_timeline(conn) == 1
    by_psql(empty_dsn, run_program("pg_dump", dsn))
    with psycopg.connect(empty_dsn, autocommit=True) as restored:
        make(restored, "unseen")

        assert reading.note_timeline(restored) == 2
        make(restored, "later")

        assert Counter(event.row_id for event in all_after(restored, first)) == Counter(["b", "c", "unseen", "later"])
        assert [event.position.timeline for event in all_after(restored, first)] == [1, 1, 2, 2]
        assert reading.note_timeline(restored) == 2


def test_moves_since_somebody_last_looked_may_come_twice_and_are_never_missed(conn: Connection) -> None:
    reading.note_timeline(conn)
    make(conn, "a")
    before = reading.read(conn, BEGINNING).cursor
    conn.execute("update public.feed_timelines set system_identifier = 1")
    make(conn, "b")

    assert reading.note_timeline(conn) == 2

    assert [event.row_id for event in all_after(conn, before)] == ["a", "b"]


def promote(conn: Connection) -> None:
    """What was noted is made to be of a primary before this one; a real one is promoted by `make load-test`."""
    conn.execute("update public.feed_timelines set wal_timeline = '0000000A'")
    conn.execute("select setval('public.status_history_timeline_seq', (10::bigint << 32) | 1)")


def test_on_a_standby_that_was_promoted_moves_come_once_each(conn: Connection) -> None:
    """Those of before keep their place; those of after come after them, also where nobody had looked in between."""
    reading.note_timeline(conn)
    start = reading.end(conn)
    make(conn, "before")
    make(conn, "unread")
    before = reading.read(conn, start, limit=1).cursor
    promote(conn)
    make(conn, "unseen")
    assert [event.row_id for event in all_after(conn, before)] == ["unread"]

    assert reading.note_timeline(conn) == 2
    make(conn, "after")

    assert [event.row_id for event in all_after(conn, before)] == ["unread", "unseen", "after"]
    assert [event.position.timeline for event in all_after(conn, start)] == [1, 1, 2, 2]
    assert reading.note_timeline(conn) == 2


def test_a_position_of_the_primary_of_before_is_none_that_never_was(conn: Connection) -> None:
    """It may be of a transaction that the standby has not heard of: what it took back, or what was lost with it."""
    reading.note_timeline(conn)
    ahead = Cursor(1, reading.end(conn).xact_id + 100, 0)
    promote(conn)
    make(conn, "after")
    assert reading.read(conn, ahead).events == []

    reading.note_timeline(conn)

    assert [event.row_id for event in all_after(conn, ahead)] == ["after"]


def test_a_server_that_counts_its_transactions_anew_is_a_new_timeline(conn: Connection) -> None:
    reading.note_timeline(conn)
    conn.execute("update public.feed_timelines set seen_xact_id = '99999999'")

    assert reading.note_timeline(conn) == 2
    assert conn.execute(KNOWN).fetchall() == [(1,), (2,)]


def test_a_stored_move_of_a_transaction_to_come_is_a_new_timeline(conn: Connection) -> None:
    reading.note_timeline(conn)
    make(conn, "of another server")
    conn.execute("update public.status_history set xact_id = '99999999'")

    assert reading.note_timeline(conn) == 2
    assert [event.row_id for event in all_after(conn, BEGINNING)] == ["of another server"]


def test_a_new_timeline_waits_for_those_who_move_rows_and_is_begun_later(dsn: str, conn: Connection) -> None:
    reading.note_timeline(conn)
    conn.execute("update public.feed_timelines set system_identifier = 1")
    with psycopg.connect(dsn) as mover:
        make(mover, "slow")

        assert reading.note_timeline(conn) == 1
        mover.commit()

    assert reading.note_timeline(conn) == 2
    assert [event.row_id for event in all_after(conn, Cursor(1, 2**63, 0))] == ["slow"]


def test_nothing_changes_while_the_server_is_the_same(conn: Connection) -> None:
    make(conn)

    assert [reading.note_timeline(conn) for _ in range(3)] == [1, 1, 1]
    assert conn.execute(KNOWN).fetchall() == [(1,)]


def test_who_stands_before_what_was_pruned_is_told_where_to_begin(conn: Connection) -> None:
    start = reading.end(conn)
    make(conn, "old")
    make(conn, "kept")
    pruned, kept = reading.read(conn, start).events
    conn.execute("update public.status_history set at = at - interval '401 days' where row_id = 'old'")
    conn.execute("update public.retention set next_at = '-infinity' where table_name = 'public.status_history'")
    conn.execute("select public.keep_house()")

    with pytest.raises(CursorTooOld) as refused:
        reading.read(conn, start)

    assert refused.value.begin == pruned.position
    assert str(pruned.position) in str(refused.value)
    assert [event.position for event in reading.read(conn, refused.value.begin).events] == [kept.position]


@pytest.mark.parametrize("cursor", [Cursor(1, 2**64 - 1, 1), Cursor(7, 1, 1)])
def test_a_position_that_was_never_one_is_refused(conn: Connection, cursor: Cursor) -> None:
    make(conn, "r")

    with pytest.raises(CursorTooOld) as refused:
        reading.read(conn, cursor)

    assert [event.row_id for event in reading.read(conn, refused.value.begin).events] == ["r"]


def test_moves_of_before_the_feed_are_seen_of_one_row(conn: Connection) -> None:
    """In the order of their numbers; the feed of all rows begins after them."""
    for row_id in ("a", "b"):
        make(conn, row_id)
    conn.execute("update public.reservations set status = 'queued'")
    conn.execute("update public.status_history set timeline = 0, xact_id = '0'")

    one = reading.read(conn, BEGINNING, Filters(row_id="a")).events

    assert [event.to_status for event in one] == ["pending", "queued"]
    assert all_after(conn, BEGINNING) == []
