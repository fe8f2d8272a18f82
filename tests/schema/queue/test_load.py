"""How much a kind has to do, as whoever decides on the number of workers is told."""

from datetime import timedelta

import psycopg
import pytest

from pgfleet.console.commands.running.worker import kinds
from pgfleet.schema.queue.claims import claim
from worlds.database import Connection

LOAD = "select ready, in_hand, oldest_s from public.queue_load where kind = 'disk'"


@pytest.fixture(autouse=True)
def no_periodic_work(conn: Connection) -> None:
    conn.execute("update public.periodic set next_at = public.fleet_now() + interval '1 hour'")


def send(conn: Connection, number: int, *, ready_for_s: int = 0) -> None:
    conn.execute(
        "insert into pgmq.q_disk_operations (vt, enqueued_at, message)"
        " select public.fleet_now() - %(ago)s, public.fleet_now() - %(ago)s, '{}' from generate_series(1, %(number)s)",
        {"ago": timedelta(seconds=ready_for_s), "number": number},
    )


def load(conn: Connection) -> tuple[int, int, float]:
    ready, in_hand, oldest_s = conn.execute(LOAD).fetchall()[0]
    return ready, in_hand, oldest_s


def test_each_kind_is_there_with_its_queue(conn: Connection) -> None:
    listed: dict[str, str] = dict(conn.execute("select kind, queue from public.queue_load").fetchall())

    assert sorted(listed) == kinds()
    assert listed["disk"] == "disk_operations"


def test_a_message_is_counted_while_it_is_ready_and_while_a_worker_has_it(conn: Connection) -> None:
    assert load(conn)[:2] == (0, 0)

    send(conn, 3)
    before = load(conn)
    claim(conn, "disk_operations", 2, timedelta(seconds=90))

    assert before[:2] == (3, 0)
    assert load(conn)[:2] == (1, 2)


def test_no_more_is_looked_at_than_there_is_a_use_for(conn: Connection) -> None:
    send(conn, 10_050)

    assert load(conn)[0] == 10_000


def test_the_age_is_that_of_what_is_oldest(conn: Connection) -> None:
    send(conn, 1, ready_for_s=5)
    send(conn, 1, ready_for_s=70)

    assert 70 <= load(conn)[2] < 130


def test_what_is_due_later_is_no_work(conn: Connection) -> None:
    send(conn, 5, ready_for_s=-3600)

    assert load(conn) == (0, 0, 0)


def test_periodic_work_that_is_due_wants_somebody_to_be_there(conn: Connection) -> None:
    conn.execute("update public.periodic set next_at = public.fleet_now() where queue = 'disk_operations'")

    assert load(conn)[0] == 1


def test_a_queue_that_is_paused_wants_nobody_but_who_has_a_message(conn: Connection) -> None:
    send(conn, 3)
    claim(conn, "disk_operations", 1, timedelta(seconds=90))
    conn.execute("select public.begin_pause('disk_operations', 'ada', 'a look')")

    assert load(conn) == (0, 1, 0)


def test_monitoring_may_read_it_and_a_user_may_not(conn: Connection) -> None:
    conn.execute("set role pgfleet_monitor")
    seen = load(conn)
    conn.execute("set role pgfleet_user")

    assert seen[:2] == (0, 0)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        load(conn)
