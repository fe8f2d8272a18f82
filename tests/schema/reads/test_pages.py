"""Pages: each row once, whatever comes meanwhile; only what has changed; and cursors that are none are refused."""

from datetime import UTC, datetime, timedelta

import pytest

from pgfleet.schema.reads.node import NodeFilters
from pgfleet.schema.reads.pages import disk, letter, node, reservation
from pgfleet.schema.reads.pages.keyset import BadCursorError, Wanted, decode, encode
from pgfleet.schema.replay.letters import Filters as Letters
from worlds.fleet import Connection, new_id

ADD = """
  insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)
  values (%s, 'ada', 'pending', 'h100', 1, 1, %s)
"""
AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


def turned(conn: Connection, most: int = 2, meanwhile: str | None = None) -> list[str]:
    """All ids, page by page; before each page but the first something happens."""
    ids: list[str] = []
    cursor = None
    while True:
        found = reservation.listed(conn, reservation.Filters(), Wanted(cursor, most))
        ids += [row["reservation_id"] for row in found.rows]
        cursor = found.next
        if cursor is None:
            return ids
        if meanwhile:
            conn.execute(ADD, (new_id(), meanwhile))


def test_every_row_is_on_one_page_newest_first_also_those_of_one_moment(conn: Connection) -> None:
    ids = sorted((new_id() for _ in range(5)), reverse=True)
    for row_id in ids:
        conn.execute(ADD, (row_id, AT))

    assert turned(conn, 2) == ids
    assert turned(conn, 5) == ids
    assert turned(conn, 200) == ids


def test_rows_that_come_meanwhile_move_none(conn: Connection) -> None:
    ids = [new_id() for _ in range(5)]
    for number, row_id in enumerate(ids):
        conn.execute(ADD, (row_id, AT.replace(minute=59 - number)))

    assert turned(conn, 2, meanwhile="2026-11-29T12:00:00Z") == ids


def test_since_shows_what_has_changed(conn: Connection) -> None:
    old, new = new_id(), new_id()
    for row_id in (old, new):
        conn.execute(ADD, (row_id, AT))
    conn.execute("alter table public.reservations disable trigger touch_updated_at")
    conn.execute("update public.reservations set updated_at = %s where reservation_id = %s", (AT, old))

    found = reservation.listed(conn, reservation.Filters(), Wanted(since=AT + timedelta(seconds=1)))

    assert [row["reservation_id"] for row in found.rows] == [new]


def test_filters_and_pages_go_together(conn: Connection) -> None:
    for number in range(4):
        conn.execute(ADD, (new_id(), AT.replace(minute=number)))
    conn.execute("update public.reservations set status = 'cancelled' where created_at > %s", (AT.replace(minute=1),))
    filters = reservation.Filters(username="ada", gpu_type="h100", live=True)

    first = reservation.listed(conn, filters, Wanted(most=1))
    second = reservation.listed(conn, filters, Wanted(first.next, 1))

    assert [row["created_at"].minute for row in (*first.rows, *second.rows)] == [1, 0]
    assert second.next is None
    assert reservation.listed(conn, reservation.Filters(username="bob"), Wanted()).rows == []
    assert len(reservation.listed(conn, reservation.Filters(status="cancelled"), Wanted()).rows) == 2


def test_rows_of_which_nobody_knows_when_they_were_made_come_last(conn: Connection) -> None:
    for name, made in (("a", None), ("b", AT), ("c", None)):
        conn.execute("insert into public.disks (disk_name, user_id, created_at) values (%s, 'ada', %s)", (name, made))
        conn.execute("insert into autoscaler.nodes (name, region, created_at) values (%s, 'eu', %s)", (name, made))

    disks, nodes = list[str](), list[str]()
    at_disks = at_nodes = Wanted(most=1)
    for _ in range(3):
        some, others = disk.listed(conn, disk.Filters("ada"), at_disks), node.listed(conn, NodeFilters(), at_nodes)
        disks += [row["disk_name"] for row in some.rows]
        nodes += [row["name"] for row in others.rows]
        at_disks, at_nodes = Wanted(some.next, 1), Wanted(others.next, 1)

    for names in (disks, nodes):
        assert (names[0], sorted(names)) == ("b", ["a", "b", "c"])
    assert (some.next, others.next) == (None, None)


def test_letters_are_without_their_bodies(conn: Connection) -> None:
    conn.execute(
        "insert into public.dead_letters (queue, msg_id, reason, enqueued_at, message)"
        """ select 'q', n, 'x', now(), '{"env_vars": {"A": "secret"}}' from generate_series(1, 3) n"""
    )

    first = letter.listed(conn, Letters(), Wanted(most=2))
    second = letter.listed(conn, Letters(), Wanted(first.next, 2))

    assert [row["msg_id"] for row in (*first.rows, *second.rows)] == [3, 2, 1]
    assert "secret" not in str(first.rows)


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", encode("x", "y"), encode("2026-11-28", "a\0"), "W10", "bnVsbA", "WzFd"]
)
def test_what_is_no_cursor_is_refused(conn: Connection, cursor: str) -> None:
    with pytest.raises(BadCursorError, match="cursor"):
        reservation.listed(conn, reservation.Filters(), Wanted(cursor))


@pytest.mark.parametrize("most", [0, -1, 201])
def test_a_page_has_1_to_200_rows(conn: Connection, most: int) -> None:
    with pytest.raises(BadCursorError, match="limit"):
        reservation.listed(conn, reservation.Filters(), Wanted(most=most))


def test_a_cursor_says_where_it_begins() -> None:
    assert decode(encode("2026-11-28 12:00:00+00", "r-1")) == ("2026-11-28 12:00:00+00", "r-1")
