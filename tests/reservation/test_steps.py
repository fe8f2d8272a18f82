"""The reservation's machine in the database: which moves it takes, whoever makes them, and what it writes down."""

import itertools
from collections.abc import Iterator

import psycopg
import pytest

from pgfleet.schema.reservation import Status
from worlds.database import fresh_database
from worlds.fleet import Connection, history_of, lose_row, new_id

MOVES = {
    ("pending", "preparing"),
    ("pending", "queued"),
    ("pending", "cancelled"),
    ("pending", "failed"),
    ("queued", "preparing"),
    ("queued", "cancelled"),
    ("queued", "failed"),
    ("preparing", "queued"),
    ("preparing", "active"),
    ("preparing", "cancelled"),
    ("preparing", "failed"),
    ("active", "expired"),
    ("active", "cancelled"),
    ("active", "failed"),
    ("failed", "pending"),
}
ROADS = {
    "pending": [],
    "queued": ["queued"],
    "preparing": ["preparing"],
    "active": ["preparing", "active"],
    "expired": ["preparing", "active", "expired"],
    "cancelled": ["cancelled"],
    "failed": ["failed"],
}
INSERT = """
insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)
values (%s, 'ada', %s, 'h100', 1, 1, now())
"""


@pytest.fixture(scope="module")
def shared(server_dsn: str, template: str) -> Iterator[Connection]:
    """One database for all: each test has rows of its own."""
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def insert(conn: Connection, status: str = "pending") -> str:
    row_id = new_id()
    conn.execute(INSERT, (row_id, status))
    return row_id


def move(conn: Connection, row_id: str, to: str) -> None:
    conn.execute("update public.reservations set status = %s where reservation_id = %s", (to, row_id))


@pytest.mark.parametrize(("origin", "to"), list(itertools.permutations([status.value for status in Status], 2)))
def test_a_move_by_hand_is_taken_only_if_it_is_listed(shared: Connection, origin: str, to: str) -> None:
    row_id = insert(shared)
    for stop in ROADS[origin]:
        move(shared, row_id, stop)

    if (origin, to) in MOVES:
        move(shared, row_id, to)
        assert history_of(shared, row_id)[-1] == (origin, to)
    else:
        with pytest.raises(psycopg.Error, match=f"may not move from {origin} to {to}") as refused:
            move(shared, row_id, to)
        assert refused.value.sqlstate == "PF002"


@pytest.mark.parametrize("status", [*(status.value for status in Status), "running", ""])
def test_a_row_is_born_pending_or_as_a_tombstone(shared: Connection, status: str) -> None:
    if status in ("pending", "cancelled"):
        assert history_of(shared, insert(shared, status)) == [("(new)", status)]
    else:
        with pytest.raises(psycopg.Error, match="may not move from"):
            insert(shared, status)


def test_the_enum_and_the_moves_know_the_same_states(conn: Connection) -> None:
    rows = conn.execute(
        "select from_status from public.moves where machine = 'reservation'"
        " union select to_status from public.moves where machine = 'reservation'"
    ).fetchall()

    assert {row[0] for row in rows} - {"(new)"} == {status.value for status in Status}


def test_a_move_by_hand_is_in_the_history_with_who_and_why(conn: Connection) -> None:
    row_id = insert(conn)

    conn.execute("set pgfleet.reason = 'the node died'")
    move(conn, row_id, "failed")

    row = conn.execute(
        "select reason, actor, msg_id from public.status_history where row_id = %s and to_status = 'failed'", (row_id,)
    ).fetchone()
    assert row == ("the node died", "postgres (by hand)", None)


def test_the_row_itself_keeps_the_seeds_history(conn: Connection) -> None:
    row_id = insert(conn)
    move(conn, row_id, "queued")

    row = conn.execute("select status_history from public.reservations where reservation_id = %s", (row_id,)).fetchone()

    assert row is not None
    assert [(entry["from"], entry["status"]) for entry in row[0]] == [("(new)", "pending"), ("pending", "queued")]
    assert set(row[0][0]) == {"timestamp", "from", "status", "reason"}


def test_a_gpu_is_never_held_twice(conn: Connection) -> None:
    conn.execute("update public.gpu_types set total_cluster_gpus = 1 where gpu_type = 'h100'")
    first, second = insert(conn), insert(conn)
    conn.execute("update public.reservations set gpus_held = 1 where reservation_id = %s", (first,))

    with pytest.raises(psycopg.Error, match="all GPUs of type h100 are taken") as refused:
        conn.execute("update public.reservations set gpus_held = 1 where reservation_id = %s", (second,))

    assert refused.value.sqlstate == "PF409"


def test_gpus_count_the_same_in_rows_and_types_whoever_writes(conn: Connection) -> None:
    rows = [insert(conn) for _ in range(3)]
    conn.execute("update public.reservations set gpus_held = 2 where reservation_id = any(%s)", (rows,))
    conn.execute("update public.reservations set gpu_type = 'a100' where reservation_id = %s", (rows[0],))
    lose_row(conn, rows[1])

    rows_held = conn.execute("select gpu_type, held_gpus from public.gpu_types where held_gpus > 0").fetchall()
    held = {row[0]: row[1] for row in rows_held}

    assert held == {"a100": 2, "h100": 2}


def test_freed_gpus_wake_their_line(conn: Connection) -> None:
    row_id = insert(conn)
    conn.execute("update public.reservations set gpus_held = 1 where reservation_id = %s", (row_id,))

    conn.execute("update public.reservations set gpus_held = 0 where reservation_id = %s", (row_id,))

    messages = conn.execute("select message from pgmq.q_gpu_reservations").fetchall()
    assert messages == [({"action": "admit", "gpu_type": "h100"},)]
