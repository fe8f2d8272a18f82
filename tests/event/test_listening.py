"""Listening at the database: a bell that says nothing, and the moves after a position, of rows that one may see."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgfleet.schema.database.migrate import migrate
from pgfleet.workers.event.machine import KIND
from worlds.database import Connection
from worlds.feed.moves import make
from worlds.fleet import REPOSITORY, settings_for, until, worker_on
from worlds.identity.people import as_person, asking, member_of
from worlds.strangers import own_login

EXAMPLE = re.compile(r"<!-- example: listen, python -->\n```python\n(.*?)```", re.DOTALL)
PAGE = REPOSITORY / "workers" / "event" / "README.md"


@pytest.fixture
def heard(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as listening:
        listening.execute("listen pgfleet_events")
        yield listening


def start(conn: Connection) -> str:
    [(position,)] = conn.execute("select public.heard_from()").fetchall()
    return str(position)


def moves(conn: Connection, after: str) -> list[tuple[str, str]]:
    query = "select row_id, to_status from public.moves_after(%s) where machine is not null"
    return conn.execute(query, (after,)).fetchall()


def test_moves_are_rung_for_once_the_feed_shows_them_and_the_bell_says_nothing(
    dsn: str, conn: Connection, heard: Connection
) -> None:
    after, made = start(conn), []
    with worker_on(KIND, settings_for(dsn), watches=True):

        def hears() -> list[psycopg.Notify]:
            """The worker may begin to follow only after a move."""
            made.append(make(conn))
            return list(heard.notifies(timeout=1, stop_after=1))

        rung = until(hears)

    assert [(each.channel, each.payload) for each in rung] == [("pgfleet_events", "")]
    assert moves(conn, after) == [(row_id, "pending") for row_id in made]


@pytest.mark.parametrize("rls", [False, True], ids=["rls off", "rls on"])
def test_a_user_is_given_moves_of_own_rows_and_monitoring_of_all(dsn: str, conn: Connection, *, rls: bool) -> None:
    """Whether row level security is on or off; the API's login, what whom it speaks for may see."""
    migrate(dsn, rls=rls)
    after = start(conn)
    mine, others = (make(conn, user=user) for user in ("ada_l", "bob_l"))
    both = [(mine, "pending"), (others, "pending")]

    with (
        own_login(conn, "ada_l") as ada,
        member_of(dsn, "pgfleet_monitor") as monitor,
        member_of(dsn, "pgfleet_serve") as api,
    ):
        assert moves(ada, start(ada)) == []
        assert moves(ada, after) == [(mine, "pending")]
        assert moves(monitor, after) == both
        with api.transaction(), asking(api, as_person("bob_l")):
            assert moves(api, after) == [(others, "pending")]
    assert moves(conn, after) == both


def test_who_is_nobody_is_given_nothing(dsn: str, conn: Connection) -> None:
    """Not even the position of now."""
    with member_of(dsn, "pgfleet_sender") as sender:
        for asked in ("select public.heard_from()", "select public.moves_after('1.1.1')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                sender.execute(asked.encode())


def test_what_is_no_position_is_refused(conn: Connection) -> None:
    with pytest.raises(psycopg.Error) as refused:
        moves(conn, "yesterday")

    assert refused.value.sqlstate == "PF004"


def test_the_example_of_the_page_prints_what_moves(conn: Connection, tmp_path: Path) -> None:
    """As it is printed there."""
    [example] = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    info = conn.info
    place = {"PGHOST": info.host, "PGPORT": str(info.port), "PGUSER": info.user, "PGDATABASE": info.dbname}
    listening = "select 1 from pg_stat_activity where query like '%%moves_after%%' and datname = current_database()"
    command = [sys.executable, str(tmp_path / "example.py")]
    secret = {"PGPASSWORD": info.password} if info.password else {}
    with subprocess.Popen(command, env={**place, **secret}, stdout=subprocess.PIPE, text=True) as running:
        try:
            until(lambda: conn.execute(f"{listening} and pid <> pg_backend_pid()".encode()).fetchone())
            row_id = make(conn)
            assert running.stdout is not None
            said = running.stdout.readline()
        finally:
            running.terminate()

    assert said == f"reservation {row_id} pending\n"
