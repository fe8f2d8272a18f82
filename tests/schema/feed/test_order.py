"""The feed has every move once, in an order that never changes, whatever order transactions end in."""

import random
import threading
from collections import Counter

import psycopg

from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.event import Event
from worlds.database import Connection
from worlds.feed.moves import make, move
from worlds.fleet import until


def all_after(conn: Connection, cursor: Cursor, limit: int = 100) -> tuple[list[Event], Cursor]:
    events: list[Event] = []
    while (page := reading.read(conn, cursor, limit=limit)).cursor != cursor:
        events += page.events
        cursor = page.cursor
    return events, cursor


def test_a_move_that_was_begun_first_and_is_committed_last_is_not_missed(dsn: str, conn: Connection) -> None:
    """The later number is committed first; it waits, and both come."""
    start = reading.end(conn)
    with psycopg.connect(dsn) as slow:
        make(slow, "first")
        make(conn, "second")
        meanwhile, cursor = all_after(conn, start)
        slow.commit()

    afterwards, _ = all_after(conn, cursor)
    assert meanwhile == []
    assert [event.row_id for event in afterwards] == ["first", "second"]


def test_a_transaction_that_writes_late_comes_where_it_began(dsn: str, conn: Connection) -> None:
    """One transaction's moves are together, though others were committed between them."""
    start = reading.end(conn)
    with psycopg.connect(dsn) as slow:
        make(slow, "a")
        make(conn, "b")
        move(slow, "a", "queued")
        slow.commit()

    events, _ = all_after(conn, start)
    assert [event.row_id for event in events] == ["a", "a", "b"]


def test_what_is_rolled_back_is_never_told(dsn: str, conn: Connection) -> None:
    start = reading.end(conn)
    with psycopg.connect(dsn) as slow:
        make(slow, "never")
        make(conn, "there")
        slow.rollback()

    events, _ = all_after(conn, start)
    assert [event.row_id for event in events] == ["there"]


def test_many_writers_and_a_reader_of_small_pages_every_move_once(dsn: str, conn: Connection) -> None:
    """Transactions of random sizes that end in random order, some of them rolled back."""
    start = cursor = reading.end(conn)
    committed: list[str] = []
    writers = [threading.Thread(target=_write, args=(dsn, seed, committed)) for seed in range(6)]
    for writer in writers:
        writer.start()
    read: list[Event] = []
    while any(writer.is_alive() for writer in writers):
        page = reading.read(conn, cursor, limit=random.randint(1, 7))
        read += page.events
        cursor = page.cursor
    for writer in writers:
        writer.join()

    rest, _ = all_after(conn, cursor)
    told = [event.row_id for event in read + rest]
    positions = [event.position for event in read + rest]
    again, _ = all_after(conn, start)
    assert Counter(told) == Counter(committed)
    assert positions == sorted(set(positions))
    assert [event.position for event in again] == positions


def _write(dsn: str, seed: int, committed: list[str]) -> None:
    chance = random.Random(seed)
    with psycopg.connect(dsn) as one, psycopg.connect(dsn) as other:
        for _ in range(25):
            mine = [make(one) for _ in range(chance.randint(1, 3))]
            others = [make(other) for _ in range(chance.randint(1, 3))]
            for conn, made in chance.sample([(one, mine), (other, others)], 2):
                if chance.random() < 0.2:
                    conn.rollback()
                else:
                    conn.commit()
                    committed.extend(made)


def test_a_session_that_was_left_open_is_named(dsn: str, conn: Connection) -> None:
    """By its process, its application and its user, and since when."""
    with psycopg.connect(dsn, application_name="left open") as slow:
        make(slow)
        assert reading.held(conn) is None, "nothing waits yet"
        make(conn)

        found = reading.held(conn)

        assert found is not None
        assert (found.pid, found.application) == (slow.info.backend_pid, "left open")
        assert found.user == slow.info.user
        assert found.since is not None
        assert "left open" in str(found)
        assert until(lambda: reading.held_s(conn) > found.seconds)
    assert reading.held(conn) is None
    assert reading.held_s(conn) == 0
