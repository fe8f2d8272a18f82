"""`pgfleet logs`: what is kept of a pod, for a person and for a program."""

from collections.abc import Iterator

import psycopg
import pytest

from worlds.commands import Pgfleet
from worlds.fleet import Connection, new_id

INSERT = """
insert into public.reservations
  (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at, pod_logs)
values (%s, 'ada', 'pending', 'h100', 1, 1, now(), %s)
"""


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(fleet_dsn, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute("delete from public.reservations")
        connection.execute("reset session_replication_role")
        yield connection


def inserted(conn: Connection, logs: str | None, *, over: bool = True) -> str:
    row_id = new_id()
    conn.execute(INSERT, (row_id, logs))
    if over:
        conn.execute("update public.reservations set status = 'failed' where reservation_id = %s", (row_id,))
    return row_id


def test_the_last_lines_are_shown_as_they_are(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = inserted(conn, "[bold]loss[/bold] 0.3\n" + "x" * 300 + "\nKilled")

    shown = pgfleet("logs", row_id[:8], "--user", "ada")

    assert shown.out == "[bold]loss[/bold] 0.3\n" + "x" * 300 + "\nKilled\n"


def test_what_somebody_else_wrote_into_the_row_moves_no_cursor(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = inserted(conn, "\x1b[2Jgone")

    assert "\x1b" not in pgfleet("logs", row_id, "--user", "ada").out


def test_a_program_gets_the_same_as_json(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = inserted(conn, "Killed")

    told = pgfleet("logs", row_id, "--user", "ada", "--json").json

    assert told == {"reservation_id": row_id, "status": "failed", "pod_logs": "Killed"}


def test_where_nothing_is_kept_it_says_why(pgfleet: Pgfleet, conn: Connection) -> None:
    over, live = inserted(conn, None), inserted(conn, None, over=False)

    assert "nothing is kept" in pgfleet("logs", over, "--user", "ada").err
    assert "is kept when it ends" in pgfleet("logs", live, "--user", "ada").err
