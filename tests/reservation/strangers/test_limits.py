"""What one user may have at once is counted where rows are made, whoever asks, and others don't feel it."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from worlds.fleet import Connection, Worker, new_id
from worlds.reservations import ask, create, letters, reach

INSERT = """
insert into public.reservations
  (reservation_id, user_id, github_user, status, gpu_type, gpu_count, duration_hours, created_at, disk_name)
values (%s, 'ada', 'ada', %s, 'h100', 1, 1, now(), null)
"""


def limit(conn: Connection, **most: int) -> None:
    for name, number in most.items():
        conn.execute("update public.policies set most = %s where limit_name = %s", (number, name))


@contextmanager
def as_worker(dsn: str, *, autocommit: bool = False) -> Iterator[Connection]:
    """A session that writes as workers do: an operator's hand may go beyond a limit."""
    with psycopg.connect(dsn, autocommit=autocommit) as conn:
        conn.execute("set pgfleet.actor = 'worker'")
        yield conn


def numbers(conn: Connection) -> dict[str, int]:
    return dict(conn.execute("select user_id, count(*) from public.reservations group by user_id").fetchall())


def test_beyond_the_limit_all_of_one_claim_are_rejected_with_what_is_used(conn: Connection, worker: Worker) -> None:
    limit(conn, reservations=3)

    for _ in range(5):
        create(conn)
        create(conn, user_id="bob")
    create(conn, user_id="eve")
    worker.run()

    assert numbers(conn) == {"ada": 3, "bob": 3, "eve": 1}
    told = [f"{user} has 3 reservations that wait or run, and may have 3" for user in ("ada", "ada", "bob", "bob")]
    assert sorted(letters(conn)) == told


def test_what_is_over_makes_room(conn: Connection, worker: Worker) -> None:
    limit(conn, reservations=1)
    row_id = create(conn)
    reach(conn, worker, row_id, "active")

    ask(conn, "cancel", row_id)
    worker.run()
    create(conn)
    worker.run()

    assert letters(conn) == []
    assert numbers(conn) == {"ada": 2}


def test_a_retry_counts_as_what_it_makes(conn: Connection, worker: Worker) -> None:
    row_id = create(conn)
    worker.run()
    ask(conn, "cancel", row_id)
    worker.run()
    limit(conn, reservations=0)

    ask(conn, "retry", row_id)
    worker.run()

    assert letters(conn) == ["ada has 0 reservations that wait or run, and may have 0"]


def test_the_disk_of_a_reservation_counts_as_a_disk(conn: Connection, worker: Worker) -> None:
    limit(conn, disks=1, disk_gb=150)

    create(conn, disk_name="first")
    worker.run()
    create(conn, disk_name="first")
    create(conn, disk_name="second")
    worker.run()

    assert letters(conn) == ["ada has 1 disks, and may have 1"]
    assert numbers(conn) == {"ada": 2}


def test_the_size_of_a_disk_counts(conn: Connection, worker: Worker) -> None:
    limit(conn, disk_gb=150)
    create(conn, disk_name="first")
    worker.run()

    create(conn, disk_name="second", disk_size_gb=51)
    create(conn, disk_name="third", disk_size_gb=50)
    worker.run()

    assert letters(conn) == ["ada has 100 GB of disks, and may have 150; 51 more would be too many"]


def test_two_who_make_rows_at_once_dont_pass_the_limit(conn: Connection, dsn: str) -> None:
    limit(conn, reservations=1)
    with as_worker(dsn) as first, as_worker(dsn, autocommit=True) as second:
        first.execute(INSERT, (new_id(), "pending"))

        second.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute(INSERT, (new_id(), "pending"))
        first.commit()
        with pytest.raises(psycopg.Error, match="ada would have more than 1 reservations that wait or run") as refused:
            second.execute(INSERT, (new_id(), "pending"))

    assert refused.value.sqlstate == "PF409"
    assert numbers(conn) == {"ada": 1}


def test_what_is_over_when_it_is_made_waits_for_nobody(conn: Connection, dsn: str) -> None:
    """A cancel that comes before its create."""
    limit(conn, reservations=1)
    with as_worker(dsn) as first, as_worker(dsn, autocommit=True) as second:
        first.execute(INSERT, (new_id(), "pending"))

        second.execute("set lock_timeout = '50ms'")
        second.execute(INSERT, (new_id(), "cancelled"))


def test_a_limit_is_counted_by_an_index_and_not_to_its_end(conn: Connection) -> None:
    conn.execute("set session_replication_role = replica")
    conn.execute(
        "insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours,"
        " created_at) select 'r' || n, 'eve', 'queued', 'h100', 1, 1, now() from generate_series(1, 2000) n"
    )
    conn.execute("set session_replication_role = origin")
    limit(conn, reservations=10)

    used = conn.execute("select used from public.limits_of('{eve}') where name = 'reservations'").fetchone()
    plan = str(
        conn.execute(
            "explain (costs off) select count(*) from (select from public.reservations r where r.user_id = 'eve'"
            " and r.status in ('pending', 'queued', 'preparing', 'active') limit 11) live"
        ).fetchall()
    )

    assert used == (11,)
    assert "reservations_live_by_user_idx" in plan
