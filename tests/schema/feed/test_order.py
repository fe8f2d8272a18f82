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

TO_AND_FRO = """
  update public.reservations set status = case status when 'queued' then 'preparing' else 'queued' end
  where reservation_id = %s
"""
# The number of a move is handed out while its row is locked.
MOVES_OF = "select history_id from public.status_history where row_id = %s and from_status <> '(new)' order by 1"


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


def test_a_transaction_that_writes_late_comes_after_what_has_ended_meanwhile(dsn: str, conn: Connection) -> None:
    """What it wrote first stays where it began; nothing of it is told before it has ended."""
    start = reading.end(conn)
    with psycopg.connect(dsn) as slow:
        make(slow, "a")
        make(conn, "b")
        move(slow, "a", "queued")
        meanwhile, _ = all_after(conn, start)
        slow.commit()

    events, _ = all_after(conn, start)
    assert meanwhile == []
    assert [event.row_id for event in events] == ["a", "b", "a"]


def told_of_a_row(dsn: str, conn: Connection) -> list[str]:
    """A row is moved by a later transaction first, and then by one that has had its number for long."""
    start = reading.end(conn)
    row_id = make(conn)
    with psycopg.connect(dsn) as early:
        make(early)
        move(conn, row_id, "queued")
        move(early, row_id, "preparing")
        early.commit()

    events, _ = all_after(conn, start)
    return [event.to_status for event in events if event.row_id == row_id]


def test_the_moves_of_a_row_are_told_in_their_order_whoever_had_its_number_first(dsn: str, conn: Connection) -> None:
    assert told_of_a_row(dsn, conn) == ["pending", "queued", "preparing"]


def test_by_the_number_of_the_transaction_alone_moves_of_a_row_would_be_told_in_another_order(
    dsn: str, conn: Connection
) -> None:
    """So the test above sees what it is about."""
    conn.execute("alter table public.status_history alter column xact_id set default pg_current_xact_id()")

    assert told_of_a_row(dsn, conn) == ["pending", "preparing", "queued"]


def test_the_number_of_a_move_is_one_that_the_feed_is_past_at_once(dsn: str, conn: Connection) -> None:
    """Nobody else writes any more, and it is told all the same."""
    start = reading.end(conn)
    with psycopg.connect(dsn) as early:
        make(early, "a")
        for number in range(3):
            make(conn, str(number))
        move(early, "a", "queued")
        early.commit()

    events, _ = all_after(conn, start)
    assert [event.row_id for event in events] == ["a", "0", "1", "2", "a"]


def test_writers_of_the_same_rows_never_turn_the_order_of_a_row_round(dsn: str, conn: Connection) -> None:
    """Each has its number long before it moves rows that others move meanwhile; a reader goes along."""
    rows = [make(conn) for _ in range(4)]
    start = cursor = reading.end(conn)
    movers = [threading.Thread(target=_move, args=(dsn, seed, rows)) for seed in range(4)]
    for mover in movers:
        mover.start()
    read: list[Event] = []
    while any(mover.is_alive() for mover in movers):
        page = reading.read(conn, cursor, limit=random.randint(1, 7))
        read += page.events
        cursor = page.cursor
    for mover in movers:
        mover.join()
    read += all_after(conn, cursor)[0]

    again, _ = all_after(conn, start)
    assert [event.position for event in again] == [event.position for event in read]
    assert len(read) == len({event.position.history_id for event in read})
    for row_id in rows:
        told = [event.position.history_id for event in read if event.row_id == row_id]
        listed = conn.execute(MOVES_OF, (row_id,)).fetchall()
        assert told == [history_id for (history_id,) in listed]
        assert told


def _move(dsn: str, seed: int, rows: list[str]) -> None:
    """To and fro, a row or two a transaction, in the order of the rows, so that none waits for the other for ever."""
    chance = random.Random(seed)
    with psycopg.connect(dsn) as one:
        for _ in range(40):
            one.execute("select pg_current_xact_id()")
            for row_id in sorted(chance.sample(rows, 2), key=rows.index):
                one.execute(TO_AND_FRO, (row_id,))
            one.commit()


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
