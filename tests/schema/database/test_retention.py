"""Tables that grow by the heartbeat: days are made ahead and dropped whole, and nobody waits for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta

import psycopg
import pytest

from worlds.database import Connection, fresh_database
from worlds.fleet import move_clock
from worlds.house import BY_DAY, days_of, only, tidy, today, value

DAY_S = 86400.0
HEARTBEATS = "autoscaler.node_heartbeats"


@pytest.fixture(scope="module")
def aging(server_dsn: str, template: str) -> Iterator[Connection]:
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        only(connection, *BY_DAY)
        tidy(connection)
        yield connection


@pytest.fixture
def db(aging: Connection) -> Iterator[Connection]:
    """One database with its days for those who are alone, each in a transaction that is rolled back, its clock too."""
    with aging.transaction(force_rollback=True):
        yield aging


def heartbeat(conn: Connection, at: datetime) -> None:
    conn.execute(
        "insert into autoscaler.nodes (name, region) select 'n', 'eu' where not exists (select from autoscaler.nodes)"
    )
    conn.execute(
        "insert into autoscaler.node_heartbeats (node_id, status, timestamp) select id, 'ok', %s from autoscaler.nodes",
        (at,),
    )


def where_heartbeats_are(conn: Connection) -> list[str]:
    found = conn.execute(
        "select c.relname from autoscaler.node_heartbeats h join pg_class c on c.oid = h.tableoid order by h.timestamp"
    ).fetchall()
    return [name for (name,) in found]


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12)  # noqa: DTZ001 - times of document 002 have no zone


@contextmanager
def held(dsn: str, statement: str) -> Iterator[Connection]:
    """Somebody else's transaction, open."""
    with psycopg.connect(dsn) as somebody:
        somebody.execute(statement.encode())
        yield somebody


@pytest.mark.parametrize("table", BY_DAY)
def test_the_first_turn_makes_the_days_from_today_three_ahead(db: Connection, table: str) -> None:
    days = days_of(db, table)

    assert days == [days[0] + timedelta(ahead) for ahead in range(4)]
    # A test may begin before midnight.
    assert today(db) - days[0] in (timedelta(0), timedelta(1))


@pytest.mark.parametrize("table", BY_DAY)
def test_the_days_move_along_with_the_clock(db: Connection, table: str) -> None:
    only(db, table)
    move_clock(db, 3 * DAY_S)

    assert tidy(db) == [table]

    day = today(db)
    assert set(days_of(db, table)) >= {day + timedelta(ahead) for ahead in range(4)}


@pytest.mark.parametrize(("table", "keep_days"), [(HEARTBEATS, 7), ("autoscaler.metrics", 30)])
def test_a_day_that_is_over_is_dropped_whole_and_the_last_kept_one_stays(
    db: Connection, table: str, keep_days: int
) -> None:
    first = days_of(db, table)[0]
    only(db, table)
    ahead = (first - today(db)).days + keep_days
    move_clock(db, ahead * DAY_S)
    tidy(db)
    assert first in days_of(db, table)

    only(db, table)
    move_clock(db, DAY_S)
    tidy(db)

    assert first not in days_of(db, table)
    assert min(days_of(db, table)) == first + timedelta(1)


def test_a_row_goes_to_its_day(db: Connection) -> None:
    day = today(db)

    heartbeat(db, noon(day))

    assert where_heartbeats_are(db) == [f"node_heartbeats_p{day:%Y%m%d}"]


def test_a_row_of_a_day_without_a_table_is_kept_and_moves_when_its_day_is_made(db: Connection) -> None:
    day = today(db)
    heartbeat(db, noon(day + timedelta(10)))
    assert where_heartbeats_are(db) == ["node_heartbeats_default"]
    rows = db.execute("select * from autoscaler.node_heartbeats").fetchall()
    only(db, HEARTBEATS)
    move_clock(db, 8 * DAY_S)

    tidy(db)

    assert where_heartbeats_are(db) == [f"node_heartbeats_p{day + timedelta(10):%Y%m%d}"]
    assert db.execute("select * from autoscaler.node_heartbeats").fetchall() == rows


def test_a_day_that_was_made_is_like_every_other(db: Connection) -> None:
    only(db, HEARTBEATS)
    move_clock(db, DAY_S)
    tidy(db)
    day = today(db) + timedelta(3)
    heartbeat(db, noon(day))

    db.execute("delete from autoscaler.nodes")

    assert where_heartbeats_are(db) == []
    indexes = "select count(*) from pg_indexes where tablename = %s"
    assert value(db, indexes, (f"node_heartbeats_p{day:%Y%m%d}",)) == value(db, indexes, ("node_heartbeats",))


def test_old_rows_of_the_default_are_pruned(db: Connection) -> None:
    heartbeat(db, noon(today(db) - timedelta(20)))
    heartbeat(db, noon(today(db) - timedelta(2)))
    only(db, HEARTBEATS)

    tidy(db)

    assert len(where_heartbeats_are(db)) == 1


def test_it_waits_for_nobody_and_comes_back_later(conn: Connection, dsn: str) -> None:
    move_clock(conn, DAY_S)
    day = today(conn) + timedelta(3)
    only(conn, HEARTBEATS)
    with held(dsn, "lock table autoscaler.node_heartbeats in access share mode"):
        # Whoever waited for it would wait until the test has ended.
        conn.execute("set statement_timeout = '60s'")
        assert tidy(conn) == [HEARTBEATS]
        assert day not in days_of(conn, HEARTBEATS)

    move_clock(conn, 3600)
    assert HEARTBEATS in tidy(conn)

    assert day in days_of(conn, HEARTBEATS)


def test_two_at_once_take_two_tables(conn: Connection, dsn: str) -> None:
    only(conn, "public.status_history", "public.dead_letters")

    with psycopg.connect(dsn) as other:
        taken = [value(other, "select public.keep_house()"), value(conn, "select public.keep_house()")]
        third = value(conn, "select public.keep_house()")

    assert sorted(taken) == ["public.dead_letters", "public.status_history"]
    assert third is None


def test_a_table_that_is_gone_does_not_keep_the_others_waiting(db: Connection) -> None:
    db.execute("drop table pgmq.a_disk_operations")
    only(db, "pgmq.a_disk_operations", "public.dead_letters")

    assert "public.dead_letters" in tidy(db)


def test_the_callers_own_limit_on_locks_stays(db: Connection) -> None:
    with db.transaction():
        db.execute("set local lock_timeout = '7s'")
        only(db, "public.dead_letters")
        db.execute("select public.keep_house()")

        assert value(db, "show lock_timeout") == "7s"


def test_what_an_operator_chose_to_keep_is_kept(db: Connection) -> None:
    db.execute("update public.retention set keep = '2 days' where table_name = %s", (HEARTBEATS,))
    first = days_of(db, HEARTBEATS)[0]
    only(db, HEARTBEATS)
    move_clock(db, 4 * DAY_S)

    tidy(db)

    assert first not in days_of(db, HEARTBEATS)
    with pytest.raises(psycopg.Error, match="keep can't be") as refused:
        db.execute("update public.retention set keep = '23 hours'")
    assert refused.value.sqlstate == "PF004"
