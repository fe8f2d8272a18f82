"""How long what grows is kept: days are made ahead and dropped, rows pruned in batches, and nobody waits for it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from conftest import Connection, fresh_database
from fleet import move_clock

DAY_S = 86400.0
BY_DAY = ["autoscaler.node_heartbeats", "autoscaler.metrics", "autoscaler.pool_analytics", "clusters.cluster_metrics"]
HEARTBEATS = "autoscaler.node_heartbeats"
BATCH = 5000


def today(conn: Connection) -> date:
    found: date = value(conn, "select (public.fleet_now() at time zone 'UTC')::date")
    return found


def value(conn: Connection, query: str, parameters: Any = None) -> Any:
    row = conn.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


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


def days_of(conn: Connection, table: str) -> list[date]:
    found = conn.execute(
        "select to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') from pg_inherits"
        " where inhparent = %s::regclass and inhrelid::regclass::text not like %s order by 1",
        (table, "%default"),
    ).fetchall()
    return [day for (day,) in found]


def only(conn: Connection, *tables: str) -> None:
    """Let these be due, and no other table."""
    conn.execute(
        "update public.retention set next_at = case when table_name = any(%s) then '-infinity' else 'infinity' end"
        "::timestamptz",
        (list(tables),),
    )


def tidy(conn: Connection) -> list[str]:
    """Everything that is due; the tables in their order."""
    tables = []
    while table := value(conn, "select public.keep_house()"):
        tables.append(table)
        assert len(tables) < 50
    return tables


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


PRUNED = {
    "public.status_history": (
        (
            "insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, at)"
            " select 'x', n::text, 'a', 'b', '', '', now() - %(age)s from generate_series(%(first)s::integer, %(last)s) n"
        ),
        timedelta(400),
    ),
    "public.dead_letters": (
        (
            "insert into public.dead_letters (queue, msg_id, reason, enqueued_at, answered_at, answer)"
            " select 'q', n, 'r', now(), now() - %(age)s, 'discarded' from generate_series(%(first)s::integer, %(last)s) n"
        ),
        timedelta(90),
    ),
    "autoscaler.system_analytics": (
        (
            "insert into autoscaler.system_analytics (timestamp)"
            " select now() - %(age)s - n * interval '1 second' from generate_series(%(first)s::integer, %(last)s) n"
        ),
        timedelta(400),
    ),
    "clusters.cluster_events": (
        (
            "insert into clusters.cluster_events (event_type, severity, message, created_at)"
            " select 'READ', 'debug', 'm', now() - %(age)s from generate_series(%(first)s::integer, %(last)s) n"
        ),
        timedelta(1),
    ),
    "pgmq.a_gpu_reservations": (
        (
            "insert into pgmq.a_gpu_reservations (msg_id, read_ct, enqueued_at, archived_at, vt, message)"
            " select n, 0, now(), now() - %(age)s, now(), '{}' from generate_series(%(first)s::integer, %(last)s) n"
        ),
        timedelta(30),
    ),
}


@pytest.mark.parametrize("table", PRUNED)
def test_old_rows_are_pruned_a_batch_at_a_time_and_young_ones_stay(db: Connection, table: str) -> None:
    insert, keep = PRUNED[table]
    count = f"select count(*) from {table}"
    db.execute(insert.encode(), {"age": keep + timedelta(hours=1), "first": 1, "last": BATCH + 500})
    db.execute(insert.encode(), {"age": keep - timedelta(days=0.9), "first": BATCH + 501, "last": BATCH + 504})
    only(db, table)

    assert tidy(db) == [table]
    assert value(db, count) == 504
    # More is left: it is this table's turn again after seconds.
    move_clock(db, 10)
    assert tidy(db) == [table]
    assert value(db, count) == 4
    move_clock(db, 10)
    assert tidy(db) == []


def test_what_may_not_go_stays_however_old(db: Connection) -> None:
    db.execute(
        "insert into public.dead_letters (queue, msg_id, reason, enqueued_at, died_at)"
        " values ('q', 1, 'unanswered', now(), now() - interval '10 years')"
    )
    db.execute(
        "insert into clusters.cluster_events (event_type, severity, message, created_at)"
        " values ('PROMOTED', 'info', 'm', now() - interval '10 years')"
    )
    only(db, "public.dead_letters", "clusters.cluster_events")

    tidy(db)

    assert value(db, "select count(*) from public.dead_letters") == 1
    assert value(db, "select count(*) from clusters.cluster_events") == 1


def test_it_waits_for_nobody_and_comes_back_later(conn: Connection, dsn: str) -> None:
    move_clock(conn, DAY_S)
    day = today(conn) + timedelta(3)
    only(conn, HEARTBEATS)
    with held(dsn, "lock table autoscaler.node_heartbeats in access share mode"):
        asked_at = time.monotonic()
        assert tidy(conn) == [HEARTBEATS]
        # A tenth of a second is what it waits; the rest is for a busy machine.
        assert time.monotonic() - asked_at < 2
        assert day not in days_of(conn, HEARTBEATS)

    move_clock(conn, 3600)
    assert HEARTBEATS in tidy(conn)

    assert day in days_of(conn, HEARTBEATS)


def test_a_row_that_somebody_holds_is_left_for_later(conn: Connection, dsn: str) -> None:
    insert, keep = PRUNED["public.status_history"]
    conn.execute(insert.encode(), {"age": keep + timedelta(1), "first": 1, "last": 3})
    only(conn, "public.status_history")

    with held(dsn, "select from public.status_history where row_id = '2' for update"):
        tidy(conn)

    assert conn.execute("select row_id from public.status_history").fetchall() == [("2",)]


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
