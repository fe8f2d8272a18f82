"""Somebody sets a column of a row to null by hand: no line stands still for it, and no message fails of it."""

import psycopg

from pgfleet.schema.line.asking import ask_lines, standings_in
from pgfleet.schema.tables.reservations import reservations
from worlds.fleet import Connection, Worker, move_clock, row_of
from worlds.reservations import active, create, letters, reach, status_of

COLUMNS = [column.name for column in reservations.columns if column.nullable and column.name != "status"]
TRIED_AGAIN = "select count(*) from pgmq.q_gpu_reservations where (headers -> 'pgfleet' ->> 'attempts')::integer > 0"


def test_no_column_of_an_active_row_keeps_anybody_waiting(conn: Connection, worker: Worker) -> None:
    row_id = active(conn, worker, gpu_count=1)
    for name in COLUMNS:
        if _empty(conn, row_id, name):
            _go_on(conn, worker)
            assert status_of(conn, row_id) == "active", name
            assert (letters(conn), conn.execute(TRIED_AGAIN).fetchone()) == ([], (0,)), name


def test_no_column_of_the_row_that_is_next_keeps_anybody_waiting(conn: Connection, worker: Worker) -> None:
    for _ in range(2):
        active(conn, worker, gpu_count=8)
    head = _head(conn, worker)
    emptied = set()
    for name in COLUMNS:
        if _empty(conn, head, name):
            emptied.add(name)
            _go_on(conn, worker)
            # What nobody can work on without is told in words, and the row fails.
            assert status_of(conn, head) == ("failed" if name in ("gpu_type", "gpu_count") else "queued"), name
            assert (letters(conn), conn.execute(TRIED_AGAIN).fetchone()) == ([], (0,)), name
            head = head if status_of(conn, head) == "queued" else _head(conn, worker)
    assert {"promised_at", "promised_nodes"} <= emptied


def _go_on(conn: Connection, worker: Worker) -> None:
    """Others plan, and some looks at each row pass."""
    for each in standings_in(ask_lines(conn, ["h100"], None), 120).values():
        each.plan(5)
    for _ in range(3):
        move_clock(conn, 61)
        worker.run()


def _head(conn: Connection, worker: Worker) -> str:
    row_id = create(conn, gpu_count=8)
    reach(conn, worker, row_id, "queued")
    _go_on(conn, worker)
    return row_id


def _empty(conn: Connection, row_id: str, name: str) -> bool:
    """Whether it was not null and is now: the table refuses some."""
    if row_of(conn, row_id)[name] is None:
        return False
    try:
        conn.execute(f"update public.reservations set {name} = null where reservation_id = %s".encode(), (row_id,))
    except psycopg.Error:
        return False
    return True
