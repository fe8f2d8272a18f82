"""A user's day costs what was used of it, once, whoever bills it and whenever"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import psycopg
import pytest

from pgfleet.schema.assignment import QUEUE
from pgfleet.workers.assignment.machine import KIND
from pgfleet.workers.assignment.tools import Tools
from worlds.database import Connection
from worlds.fleet import Worker, send, settings_for, worker_on
from worlds.house import only, tidy
from worlds.outside.usage import (
    ADA,
    BOB,
    add_cluster,
    add_user,
    assign,
    billing_worker,
    dead,
    queued,
    release,
    reserve,
    rows,
    sample,
    send_bill,
    set_clock,
    turn,
)

DAY, AFTER = "2030-03-05", "2030-03-06 01:00"
DAILY = "select seat_days, gpu_hours, cpu_hours, total_cost from hopsworks.usage_daily where user_id = %s and date = %s"
LISTED = "select day::text, users from hopsworks.billed_days order by day"
EVERY_BILL = "select user_id, date, seat_days, total_cost from hopsworks.usage_daily order by user_id, date"


@pytest.fixture
def cluster(conn: Connection) -> str:
    """A cluster, and ada; it is the day before."""
    set_clock(conn, "2030-03-04 12:00")
    add_user(conn)
    return add_cluster(conn)


@pytest.fixture
def worker(dsn: str, cluster: str) -> Iterator[Worker]:
    with billing_worker(dsn) as running:
        yield running


def bill(conn: Connection, worker: Worker, user: str = ADA, day: str = DAY, at: str = AFTER) -> tuple[Any, ...] | None:
    """(seat days, GPU hours, CPU hours, cost) once the day is over."""
    set_clock(conn, at)
    send_bill(conn, day, user)
    worker.run()
    found = rows(conn, DAILY, user, day)
    return found[0] if found else None


def list_days(conn: Connection, worker: Worker) -> list[tuple[str, str]]:
    """(user, day) of the bills that are sent; they are left in the queue."""
    send(conn, QUEUE, {"action": "bill"})
    while {"action": "bill"} in queued(conn):
        conn.execute(f"update pgmq.q_{QUEUE} set vt = '9000-01-01' where message ->> 'action' = 'bill_user'")
        worker.run_once()
    return [(body["user_id"], body["day"]) for body in queued(conn)]


def numbers(*texts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(text) for text in texts)


# --- what is used


def test_a_seat_over_midnight_counts_on_both_days(conn: Connection, worker: Worker, cluster: str) -> None:
    set_clock(conn, "2030-03-04 18:00")
    assign(conn, cluster)
    set_clock(conn, "2030-03-05 12:00")
    release(conn)

    assert bill(conn, worker, day="2030-03-04") == numbers("0.25", "0", "0", "0.125")
    assert bill(conn, worker) == numbers("0.5", "0", "0", "0.25")
    assert rows(conn, "select distinct hopsworks_cluster_id::text from hopsworks.usage_daily") == [(cluster,)]


def test_released_and_assigned_again_in_a_day_is_the_sum_of_both_stays(
    conn: Connection, worker: Worker, cluster: str
) -> None:
    for came, went in (("00:00", "06:00"), ("12:00", "15:00")):
        set_clock(conn, f"{DAY} {came}")
        assign(conn, cluster)
        set_clock(conn, f"{DAY} {went}")
        release(conn)

    assert bill(conn, worker) == numbers("0.375", "0", "0", "0.1875")


def test_the_suspended_pay_for_the_seat_that_they_keep(conn: Connection, worker: Worker, cluster: str) -> None:
    assign(conn, cluster)
    conn.execute("update hopsworks.user_hopsworks_assignments set suspended_at = public.fleet_now()")

    assert bill(conn, worker) == numbers("1", "0", "0", "0.5")


def test_a_seat_counts_after_the_history_of_its_beginning_is_gone(
    conn: Connection, worker: Worker, cluster: str
) -> None:
    add_user(conn, BOB)
    assign(conn, cluster)
    assign(conn, cluster, BOB, "bob10000")
    conn.execute("delete from public.status_history")
    set_clock(conn, f"{DAY} 06:00")
    release(conn, BOB)

    assert bill(conn, worker) == numbers("1", "0", "0", "0.5")
    assert bill(conn, worker, BOB) == numbers("0.25", "0", "0", "0.125")


def test_a_seat_counts_from_the_account_on(conn: Connection, worker: Worker) -> None:
    conn.execute("insert into hopsworks.user_hopsworks_assignments (user_id) values (%s)", (ADA,))

    assert bill(conn, worker) is None


@pytest.mark.parametrize("end", ["expired", "cancelled", "failed"])
def test_a_reservation_over_midnight_counts_on_both_days_however_it_ends(
    conn: Connection, worker: Worker, end: str
) -> None:
    set_clock(conn, "2030-03-04 22:00")
    ours = reserve(conn, gpus=4)
    set_clock(conn, "2030-03-05 01:30")
    turn(conn, ours, end)

    assert bill(conn, worker, day="2030-03-04") == numbers("0", "8", "0", "20")
    assert bill(conn, worker) == numbers("0", "6", "0", "15")


def test_a_reservation_that_is_active_still_counts_up_to_midnight(conn: Connection, worker: Worker) -> None:
    set_clock(conn, f"{DAY} 20:00")
    reserve(conn, gpus=1)

    assert bill(conn, worker) == numbers("0", "4", "0", "10")


def test_a_reservation_that_never_ran_costs_nothing(conn: Connection, worker: Worker) -> None:
    set_clock(conn, f"{DAY} 10:00")
    ours = reserve(conn, waits=True)
    set_clock(conn, f"{DAY} 12:00")
    turn(conn, ours, "cancelled")

    assert bill(conn, worker) is None


def test_both_lives_of_a_reservation_that_was_replayed_count(conn: Connection, worker: Worker) -> None:
    set_clock(conn, f"{DAY} 10:00")
    ours = reserve(conn, gpus=1)
    for time, status in (("11:00", "failed"), ("13:00", "pending"), ("14:00", "preparing"), ("15:00", "active")):
        set_clock(conn, f"{DAY} {time}")
        turn(conn, ours, status)
    set_clock(conn, f"{DAY} 17:00")
    turn(conn, ours, "expired")

    assert bill(conn, worker) == numbers("0", "3", "0", "7.5")


def test_a_cpu_type_counts_its_cpus(conn: Connection, worker: Worker) -> None:
    set_clock(conn, f"{DAY} 10:00")
    ours = reserve(conn, gpu_type="cpu-x86", gpus=0)
    set_clock(conn, f"{DAY} 10:30")
    turn(conn, ours, "expired")

    assert bill(conn, worker) == numbers("0", "0", "16", "0.8")


@pytest.mark.parametrize("owner", [ADA, "ADA@example.com", "ada-on-github"])
def test_reservations_find_their_user_by_id_by_email_or_as_a_user_of_the_api(
    conn: Connection, worker: Worker, owner: str
) -> None:
    conn.execute("insert into public.api_users (username, email) values ('ada-on-github', 'Ada@Example.com')")
    set_clock(conn, f"{DAY} 23:00")
    reserve(conn, owner, gpus=1)
    reserve(conn, "somebody else", gpus=8)

    assert bill(conn, worker) == numbers("0", "1", "0", "2.5")
    assert rows(conn, "select count(*) from hopsworks.usage_daily") == [(1,)]


def test_samples_of_the_day_count_with_the_rest(conn: Connection, worker: Worker, cluster: str) -> None:
    used = f'{{"{ADA}": {{"cpu_hours": 0.1, "gpu_hours": 0.25}}, "{BOB}": {{"cpu_hours": 9, "gpu_hours": 9}}}}'
    for slot in ("2030-03-04 23:55", f"{DAY} 00:00", f"{DAY} 23:55", "2030-03-06 00:00"):
        sample(conn, cluster, slot, used)
    set_clock(conn, f"{DAY} 23:30")
    reserve(conn, gpus=1)

    assert bill(conn, worker) == numbers("0", "1", "0.2", "2.51")


def test_samples_of_two_clusters_add_up(conn: Connection, worker: Worker, cluster: str) -> None:
    for each in (cluster, add_cluster(conn)):
        sample(conn, each, f"{DAY} 12:00", f'{{"{ADA}": {{"cpu_hours": 0.1, "gpu_hours": 0.25}}}}')

    assert bill(conn, worker) == numbers("0", "0.5", "0.2", "1.26")


def test_the_same_sample_twice_adds_once(conn: Connection, cluster: str) -> None:
    used = f'{{"{ADA}": {{"cpu_hours": 0.1}}, "{BOB}": {{"cpu_hours": 9}}}}'
    sample(conn, cluster, f"{DAY} 12:00", used)

    with pytest.raises(psycopg.errors.UniqueViolation):
        sample(conn, cluster, f"{DAY} 12:00", used)
    conn.execute("insert into hopsworks.usage_samples select * from hopsworks.usage_samples on conflict do nothing")

    assert rows(conn, "select user_id, day::text, cpu_hours, gpu_hours from hopsworks.usage_hours") == [
        (ADA, DAY, Decimal("0.1"), 0)
    ]


def test_two_samples_at_once_add_up_in_whatever_order_they_name_their_users(
    conn: Connection, dsn: str, cluster: str
) -> None:
    people = [add_user(conn, f"auth0|{n}") for n in range(20)]
    samples = [
        (add_cluster(conn), "{" + ", ".join(f'"{user}": {{"gpu_hours": 1}}' for user in order) + "}")
        for order in (people, people[::-1])
    ]

    def insert(of_cluster: str, used: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as own:
            for minute in range(0, 60, 5):
                sample(own, of_cluster, f"{DAY} 12:{minute:02}", used)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda each: insert(*each), samples))

    assert rows(conn, "select count(*), min(gpu_hours), max(gpu_hours) from hopsworks.usage_hours") == [(20, 24, 24)]


def test_a_sample_counts_on_the_day_of_its_slot_in_utc(conn: Connection, cluster: str) -> None:
    conn.execute("set timezone = 'Asia/Tokyo'")
    sample(conn, cluster, f"{DAY} 23:55", f'{{"{ADA}": {{"cpu_hours": 1}}}}')

    assert rows(conn, "select day::text from hopsworks.usage_hours") == [(DAY,)]


def test_hours_of_a_day_are_kept_for_sixty_days(conn: Connection, cluster: str) -> None:
    for day in (DAY, "2030-03-06"):
        sample(conn, cluster, f"{day} 12:00", f'{{"{ADA}": {{"cpu_hours": 1}}}}')
    set_clock(conn, "2030-05-04 12:00")
    only(conn, "hopsworks.usage_hours")

    tidy(conn)

    assert rows(conn, "select day::text from hopsworks.usage_hours") == [("2030-03-06",)]


def test_hours_are_rounded_to_six_places_and_money_to_four(conn: Connection, worker: Worker, cluster: str) -> None:
    set_clock(conn, f"{DAY} 23:59:59.999")
    reserve(conn, gpus=1)
    sample(conn, cluster, f"{DAY} 00:00", f'{{"{ADA}": {{"cpu_hours": 0.0333333333, "gpu_hours": 0}}}}')

    assert bill(conn, worker) == numbers("0", "0", "0.033333", "0.0017")


@pytest.mark.parametrize("owner", [ADA, "ada@example.com", "ADA@example.com", "ada-on-github", "Ada-On-Github"])
def test_one_user_alone_and_everybody_are_asked_for_the_same(conn: Connection, cluster: str, owner: str) -> None:
    add_user(conn, BOB, "ada-ON-github")
    conn.execute("insert into public.api_users (username, email) values ('ada-on-github', 'Ada@Example.com')")
    assign(conn, cluster)
    assign(conn, cluster, BOB, "bob10000")
    set_clock(conn, f"{DAY} 06:00")
    reserve(conn, owner)
    ended, early = reserve(conn, owner, gpus=8), reserve(conn, owner, gpus=16)
    turn(conn, early, "expired")
    sample(conn, cluster, f"{DAY} 06:00", f'{{"{BOB}": {{"gpu_hours": 1}}}}')
    set_clock(conn, f"{DAY} 18:00")
    turn(conn, ended, "expired")
    release(conn, BOB)
    set_clock(conn, "2030-03-07 18:00")
    release(conn)

    use = "select * from hopsworks.use_of_day(%s, %s) order by user_id"
    everybody = rows(conn, use, DAY, None)

    assert [row[0] for row in everybody] == [ADA, BOB]
    assert [rows(conn, use, DAY, [user])[0] for user in (ADA, BOB)] == everybody
    assert rows(conn, use, DAY, [ADA, BOB]) == everybody
    assert sum(row[2] for row in everybody) == 2 * 18 + 8 * 12 + 1


# --- which days


def test_a_day_that_is_not_over_is_refused(conn: Connection, worker: Worker, cluster: str) -> None:
    assign(conn, cluster)

    assert bill(conn, worker, at=f"{DAY} 23:59") is None
    assert bill(conn, worker, day="9999-12-31") is None
    assert [reason.split(": ")[1] for reason in dead(conn)] == [f"{DAY} is not over yet", "9999-12-31 is not over yet"]


def test_a_day_that_has_just_ended_waits_for_its_last_samples(conn: Connection, worker: Worker, cluster: str) -> None:
    assign(conn, cluster)

    assert bill(conn, worker, at="2030-03-06 00:30") is None
    set_clock(conn, AFTER)
    worker.run()

    assert rows(conn, DAILY, ADA, DAY) == [numbers("1", "0", "0", "0.5")]


def test_an_unknown_user_is_refused(conn: Connection, worker: Worker) -> None:
    assert bill(conn, worker, "auth0|nobody") is None
    assert dead(conn) == ["user_id: there is no user auth0|nobody"]


def test_bills_are_sent_for_every_user_and_day_of_the_last_week_that_has_none(
    conn: Connection, worker: Worker, cluster: str
) -> None:
    add_user(conn, BOB)
    set_clock(conn, "2030-02-01 00:00")
    assign(conn, cluster)
    set_clock(conn, f"{DAY} 08:00")
    reserve(conn, "bob@example.com")
    bill(conn, worker)
    send(conn, QUEUE, {"action": "bill"})

    worker.run()

    billed = rows(conn, "select user_id, date::text from hopsworks.usage_daily order by user_id, date")
    days = ["2030-02-27", "2030-02-28", "2030-03-01", "2030-03-02", "2030-03-03", "2030-03-04", DAY]
    assert billed == [(ADA, day) for day in days] + [(BOB, DAY)]
    # Ada's last day had its bill before.
    assert rows(conn, LISTED) == [(day, 1) for day in days]
    assert dead(conn) == []


def test_the_oldest_day_is_listed_first_and_each_by_a_message_of_its_own(
    conn: Connection, worker: Worker, cluster: str
) -> None:
    assign(conn, cluster)
    set_clock(conn, AFTER)
    send(conn, QUEUE, {"action": "bill"})
    for day in ("2030-02-27", "2030-02-28", "2030-03-01", "2030-03-02", "2030-03-03"):
        worker.run_once()
        assert queued(conn) == [{"action": "bill"}]
        assert rows(conn, LISTED)[-1] == (day, 0)

    worker.run_once()
    assert queued(conn) == [{"action": "bill_user", "user_id": ADA, "day": "2030-03-04"}, {"action": "bill"}]

    worker.run_once()
    assert queued(conn) == [{"action": "bill_user", "user_id": ADA, "day": DAY}]


def test_a_day_is_looked_at_from_an_hour_after_its_end_on(conn: Connection, worker: Worker, cluster: str) -> None:
    set_clock(conn, f"{DAY} 08:00")
    assign(conn, cluster)
    for moment, bills in (("2030-03-06 00:59", []), (AFTER, [(ADA, DAY)])):
        set_clock(conn, moment)

        assert list_days(conn, worker) == bills


def test_a_day_is_listed_once(conn: Connection, worker: Worker, cluster: str) -> None:
    assign(conn, cluster)
    set_clock(conn, AFTER)
    bills = [(ADA, "2030-03-04"), (ADA, DAY)]
    assert list_days(conn, worker) == bills

    assert list_days(conn, worker) == bills


@pytest.mark.parametrize("first_days", [1, 6])
def test_two_workers_at_once_list_each_day_once(conn: Connection, dsn: str, cluster: str, first_days: int) -> None:
    assign(conn, cluster)
    set_clock(conn, AFTER)

    def other_lists() -> None:
        send(conn, QUEUE, {"action": "bill"})
        with billing_worker(dsn) as other:
            for _ in range(first_days):
                assert other.run_once() == 1

    with billing_worker(dsn, [other_lists]) as worker:
        send(conn, QUEUE, {"action": "bill"})
        worker.run()

    assert rows(conn, LISTED) == [
        *((day, 0) for day in ("2030-02-27", "2030-02-28", "2030-03-01", "2030-03-02", "2030-03-03")),
        *((day, 1) for day in ("2030-03-04", DAY)),
    ]
    assert rows(conn, "select count(*), sum(seat_days) from hopsworks.usage_daily") == [(2, Decimal("1.5"))]
    assert queued(conn) == dead(conn) == []


def test_two_messages_in_one_claim_list_each_day_once(conn: Connection, worker: Worker, cluster: str) -> None:
    assign(conn, cluster)
    set_clock(conn, AFTER)
    send(conn, QUEUE, {"action": "bill"})

    assert list_days(conn, worker) == [(ADA, "2030-03-04"), (ADA, DAY)]
    assert rows(conn, "select count(*) from hopsworks.billed_days") == [(7,)]


def test_a_day_whose_row_was_deleted_is_listed_again_and_nobody_is_billed_twice(
    conn: Connection, worker: Worker, cluster: str
) -> None:
    add_user(conn, BOB)
    assign(conn, cluster)
    assign(conn, cluster, BOB, "bob10000")
    set_clock(conn, AFTER)
    send(conn, QUEUE, {"action": "bill"})
    worker.run()
    before = rows(conn, EVERY_BILL)
    conn.execute("delete from hopsworks.usage_daily where user_id = %s and date = %s", (BOB, DAY))
    conn.execute("delete from hopsworks.billed_days where day = %s", (DAY,))
    # One is sent that is not needed, too.
    send_bill(conn, DAY)

    send(conn, QUEUE, {"action": "bill"})
    worker.run()

    assert rows(conn, EVERY_BILL) == before
    assert rows(conn, LISTED)[-1] == (DAY, 1)
    assert rows(conn, "select total_used from hopsworks.user_credits order by user_id") == [
        (Decimal("0.75"),),
        (Decimal("1.25"),),
    ]


def test_a_day_with_many_users_is_billed_whole(conn: Connection, worker: Worker, cluster: str) -> None:
    many = 2000
    conn.execute(
        "insert into hopsworks.users (id, email) select 'u' || n, n || '@x' from generate_series(1, %s) n", (many,)
    )
    everybody = rows(conn, "select jsonb_object_agg(id, jsonb_build_object('cpu_hours', 1))::text from hopsworks.users")
    sample(conn, cluster, f"{DAY} 00:00", everybody[0][0])
    set_clock(conn, AFTER)
    send(conn, QUEUE, {"action": "bill"})

    # The seven days, and a bill for each of them and ada.
    assert worker.run() == 7 + many + 1
    assert rows(conn, "select count(*), sum(cpu_hours) from hopsworks.usage_daily") == [(many + 1,) * 2]
    assert rows(conn, LISTED)[-1] == (DAY, many + 1)


def test_a_missing_rate_is_named_and_waited_for(conn: Connection, worker: Worker, cluster: str) -> None:
    assign(conn, cluster)
    conn.execute("delete from hopsworks.billing_rates where resource = 'seat_day'")
    for _ in range(5):
        assert bill(conn, worker) is None
        set_clock(conn, "2030-03-06 02:00")

    conn.execute("insert into hopsworks.billing_rates (resource, price) values ('seat_day', 3)")
    set_clock(conn, "2030-03-06 03:00")
    worker.run()

    assert rows(conn, DAILY, ADA, DAY) == [numbers("1", "0", "0", "3")]
    assert dead(conn) == []


def test_days_that_no_worker_saw_are_listed_when_one_is_back(conn: Connection, worker: Worker, cluster: str) -> None:
    assign(conn, cluster)
    set_clock(conn, AFTER)
    list_days(conn, worker)
    conn.execute(f"delete from pgmq.q_{QUEUE}")

    set_clock(conn, "2030-03-20 12:00")

    assert [day for _, day in list_days(conn, worker)] == [f"2030-03-{day:02}" for day in range(6, 20)]


def test_the_assignment_worker_measures_and_bills(conn: Connection, dsn: str, cluster: str) -> None:
    """All the others work with its steps of billing alone."""
    sample(conn, cluster, f"{DAY} 10:00", f'{{"{ADA}": {{"cpu_hours": 2, "gpu_hours": 1}}}}')
    set_clock(conn, AFTER)
    kind = replace(KIND, tools=lambda settings, _: nullcontext(Tools(settings, cast("Any", None), cast("Any", None))))
    send(conn, QUEUE, {"action": "measure"})
    send(conn, QUEUE, {"action": "bill"})

    with worker_on(kind, settings_for(dsn)) as worker:
        worker.run()

    assert (DAY, 1) in rows(conn, LISTED)
    assert [row[:2] for row in rows(conn, "select user_id, gpu_hours from hopsworks.usage_daily")] == [(ADA, 1)]
    assert queued(conn) == []
