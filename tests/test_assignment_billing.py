"""A user's day costs what was used of it, once, whoever bills it and whenever"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from conftest import Connection
from fleet import Worker, send
from usage_world import (
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

from schema.assignment import QUEUE
from workers.assignment_billing_view import BILLS_LIMIT

DAY, AFTER = "2030-03-05", "2030-03-06 01:00"
DAILY = "select seat_days, gpu_hours, cpu_hours, total_cost from hopsworks.usage_daily where user_id = %s and date = %s"


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


def test_hours_are_rounded_to_six_places_and_money_to_four(conn: Connection, worker: Worker, cluster: str) -> None:
    set_clock(conn, f"{DAY} 23:59:59.999")
    reserve(conn, gpus=1)
    sample(conn, cluster, f"{DAY} 00:00", f'{{"{ADA}": {{"cpu_hours": 0.0333333333, "gpu_hours": 0}}}}')

    assert bill(conn, worker) == numbers("0", "0", "0.033333", "0.0017")


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
    send_bill(conn, "2030-03-04")
    send(conn, QUEUE, {"action": "bill"})

    worker.run_once()
    sent = [(body["user_id"], body["day"]) for body in queued(conn)]

    assert sent == [(ADA, f"2030-0{day}") for day in ("2-27", "2-28", "3-01", "3-02", "3-03")] + [(BOB, DAY)]
    worker.run()
    assert rows(conn, "select count(*), count(distinct (user_id, date)) from hopsworks.usage_daily") == [(8, 8)]
    send(conn, QUEUE, {"action": "bill"})
    assert worker.run() == 1


def test_a_day_is_looked_at_from_an_hour_after_its_end_on(conn: Connection, worker: Worker, cluster: str) -> None:
    set_clock(conn, f"{DAY} 08:00")
    assign(conn, cluster)
    for moment, bills in (("2030-03-06 00:59", []), (AFTER, [DAY])):
        set_clock(conn, moment)
        send(conn, QUEUE, {"action": "bill"})

        worker.run_once()

        assert [body["day"] for body in queued(conn)] == bills


def test_more_bills_than_one_look_sends_are_sent_by_the_next(conn: Connection, worker: Worker, cluster: str) -> None:
    conn.execute(
        "insert into hopsworks.users (id, email) select 'u' || n, n || '@x' from generate_series(1, %s) n",
        (BILLS_LIMIT,),
    )
    everybody = "(select jsonb_object_agg(id, jsonb_build_object('cpu_hours', 1)) from hopsworks.users)"
    sample(conn, cluster, f"{DAY} 00:00", "{}")
    conn.execute(f"update hopsworks.usage_samples set used = {everybody}")
    set_clock(conn, AFTER)
    send(conn, QUEUE, {"action": "bill"})

    assert worker.run() == 1 + BILLS_LIMIT + 1 + 1
    assert rows(conn, "select count(*), sum(cpu_hours) from hopsworks.usage_daily") == [(BILLS_LIMIT + 1,) * 2]


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
