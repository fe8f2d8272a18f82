"""Tables that grow slowly: old rows are pruned a batch at a time, and those that matter stay."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from worlds.database import Connection, fresh_database
from worlds.house import only, tidy, value

BATCH = 10_000
PRUNED = {
    "public.status_history": (
        (
            "insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, at)"
            " select 'x', n::text, 'a', 'b', '', '', now() - %(age)s"
            " from generate_series(%(first)s::integer, %(last)s) n"
        ),
        timedelta(400),
    ),
    "public.dead_letters": (
        (
            "insert into public.dead_letters (queue, msg_id, reason, enqueued_at, answered_at, answer)"
            " select 'q', n, 'r', now(), now() - %(age)s, 'discarded'"
            " from generate_series(%(first)s::integer, %(last)s) n"
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
            " select 'READ', 'debug', 'm', now() - %(age)s"
            " from generate_series(%(first)s::integer, %(last)s) n"
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


@pytest.fixture(scope="module")
def aging(server_dsn: str, template: str) -> Iterator[Connection]:
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def db(aging: Connection) -> Iterator[Connection]:
    """One database for those who are alone, each in a transaction that is rolled back, its clock too."""
    with aging.transaction(force_rollback=True):
        yield aging


@pytest.mark.parametrize("table", PRUNED)
def test_old_rows_are_pruned_a_batch_at_a_time_and_young_ones_stay(db: Connection, table: str) -> None:
    insert, keep = PRUNED[table]
    count = f"select count(*) from {table}"
    db.execute(insert.encode(), {"age": keep + timedelta(hours=1), "first": 1, "last": BATCH + 500})
    db.execute(insert.encode(), {"age": keep - timedelta(days=0.9), "first": BATCH + 501, "last": BATCH + 504})
    only(db, table)

    # More is left: it is this table's turn again at once.
    seen = [(value(db, "select public.keep_house()"), value(db, count)) for _ in range(3)]

    assert seen == [(table, 504), (table, 4), (None, 4)]


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


def test_a_row_that_somebody_holds_is_left_for_later(conn: Connection, dsn: str) -> None:
    insert, keep = PRUNED["public.status_history"]
    conn.execute(insert.encode(), {"age": keep + timedelta(1), "first": 1, "last": 3})
    only(conn, "public.status_history")

    with psycopg.connect(dsn) as somebody:
        somebody.execute("select from public.status_history where row_id = '2' for update")
        tidy(conn)

    assert conn.execute("select row_id from public.status_history").fetchall() == [("2",)]


def test_a_table_that_cant_be_tidied_is_told_and_the_others_have_their_turn(db: Connection) -> None:
    db.execute("update public.retention set time_column = 'no_such_column' where table_name = 'public.outages'")
    db.execute(
        "insert into public.retention (table_name, time_column, keep, by_day) values ('no.table', 'at', '1 d', 't')"
    )
    only(db, "public.outages", "no.table", "public.dead_letters")

    assert set(tidy(db)) == {"public.outages", "no.table", "public.dead_letters"}

    problems = "select table_name, problem from public.retention where problem_since is not null order by 1"
    (first, second) = db.execute(problems).fetchall()
    assert (first[0], second[0]) == ("no.table", "public.outages")
    assert "does not exist" in first[1]
    assert 'column "no_such_column" does not exist' in second[1]


def test_what_can_be_tidied_again_is_told_no_more(db: Connection) -> None:
    db.execute("update public.retention set problem = 'why', problem_since = now() where table_name = 'public.outages'")
    only(db, "public.outages")

    tidy(db)

    assert value(db, "select count(*) from public.retention where num_nonnulls(problem, problem_since) > 0") == 0
