"""A day counts once, and what is owed is charged once: by two workers, by one that dies, with payments meanwhile."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pgfleet.schema.assignment import QUEUE
from pgfleet.workers.runtime.work import work
from worlds.database import Connection
from worlds.fleet import Worker, send
from worlds.outside.usage import (
    ADA,
    add_cluster,
    add_user,
    billing_worker,
    dead,
    queued,
    rows,
    sample,
    send_bill,
    set_clock,
)

AFTER = "2030-03-08 12:00"
DAYS = ("2030-03-05", "2030-03-06", "2030-03-07")
# At 2.50 each: 50, as much as a user may owe.
GPU_HOURS = 20
CHARGES = "select amount, currency, status, description from hopsworks.billing_history order by description"
CREDIT = "select total_used, total_purchased, gpu_hours_used, cpu_hours_used from hopsworks.user_credits"


@pytest.fixture(autouse=True)
def used(conn: Connection) -> None:
    """Each of the days ada uses for 50."""
    add_user(conn)
    cluster = add_cluster(conn)
    for day in DAYS:
        sample(conn, cluster, f"{day} 12:00", f'{{"{ADA}": {{"gpu_hours": {GPU_HOURS}}}}}')
    set_clock(conn, AFTER)


@pytest.fixture
def worker(dsn: str, used: None) -> Iterator[Worker]:
    with billing_worker(dsn) as running:
        yield running


def bill(conn: Connection, worker: Worker, *days: str) -> None:
    for day in days:
        send_bill(conn, day)
    worker.run()
    assert queued(conn) == dead(conn) == []


def charged(conn: Connection) -> list[tuple[Any, ...]]:
    return [(row[0], row[2]) for row in rows(conn, CHARGES)]


def pay(conn: Connection, amount: int) -> None:
    """As the payment service does it, in one transaction."""
    with conn.transaction():
        conn.execute("update hopsworks.billing_history set status = 'paid' where status = 'pending'")
        conn.execute(
            "insert into hopsworks.user_credits as c (user_id, total_purchased) values (%s, %s)"
            " on conflict (user_id) do update set total_purchased = c.total_purchased + excluded.total_purchased",
            (ADA, amount),
        )


def test_what_was_used_is_counted_into_the_credits(conn: Connection, worker: Worker) -> None:
    bill(conn, worker, *DAYS)

    assert rows(conn, CREDIT) == [(150, 0, 60, 0)]


def test_credits_with_nothing_in_them_count_as_0(conn: Connection, worker: Worker) -> None:
    conn.execute(
        "insert into hopsworks.user_credits (user_id, total_used, total_purchased, gpu_hours_used, cpu_hours_used)"
        " values (%s, null, null, null, null)",
        (ADA,),
    )
    bill(conn, worker, DAYS[0])

    assert rows(conn, CREDIT) == [(50, None, 20, 0)]
    assert charged(conn) == [(50, "pending")]


def test_who_owes_exactly_as_much_as_one_may_is_charged_all_of_it(conn: Connection, worker: Worker) -> None:
    bill(conn, worker, DAYS[0])

    assert rows(conn, CHARGES) == [(50, "USD", "pending", "usage up to 2030-03-05")]


def test_who_owes_less_is_not_charged_yet(conn: Connection, worker: Worker) -> None:
    conn.execute("insert into hopsworks.user_credits (user_id, total_purchased) values (%s, 0.0001)", (ADA,))
    bill(conn, worker, DAYS[0])
    assert charged(conn) == []

    bill(conn, worker, DAYS[1])
    assert charged(conn) == [(Decimal("99.9999"), "pending")]


def test_what_a_setting_allows_to_owe_is_not_charged(conn: Connection, dsn: str) -> None:
    with billing_worker(dsn, charge_at=150) as patient:
        bill(conn, patient, *DAYS[:2])
        assert charged(conn) == []

        bill(conn, patient, DAYS[2])
        assert charged(conn) == [(150, "pending")]


def test_what_is_pending_is_not_charged_again(conn: Connection, worker: Worker) -> None:
    bill(conn, worker, DAYS[0])
    conn.execute("update hopsworks.billing_rates set price = 1 where resource = 'gpu_hour'")
    bill(conn, worker, DAYS[1])
    assert charged(conn) == [(50, "pending")]

    conn.execute("update hopsworks.billing_rates set price = 1.5 where resource = 'gpu_hour'")
    bill(conn, worker, DAYS[2])
    assert charged(conn) == [(50, "pending"), (50, "pending")]


def test_what_was_paid_is_not_charged_again(conn: Connection, worker: Worker) -> None:
    bill(conn, worker, DAYS[0])
    pay(conn, 60)
    bill(conn, worker, DAYS[1])
    assert charged(conn) == [(50, "paid")]

    bill(conn, worker, DAYS[2])
    assert charged(conn) == [(50, "paid"), (90, "pending")]


def test_a_charge_that_failed_is_charged_again_with_the_next_day(conn: Connection, worker: Worker) -> None:
    bill(conn, worker, DAYS[0])
    conn.execute("update hopsworks.billing_history set status = 'failed'")
    bill(conn, worker, DAYS[1])

    assert charged(conn) == [(50, "failed"), (100, "pending")]


def test_the_charge_is_in_the_currency_of_the_rates(conn: Connection, worker: Worker) -> None:
    conn.execute("update hopsworks.billing_rates set currency = 'EUR'")
    bill(conn, worker, DAYS[0])

    assert [row[1] for row in rows(conn, CHARGES)] == ["EUR"]


def test_rates_in_several_currencies_are_waited_for(conn: Connection, worker: Worker) -> None:
    conn.execute("update hopsworks.billing_rates set currency = 'EUR' where resource = 'api_call'")
    send_bill(conn, DAYS[0])
    worker.run()

    assert rows(conn, CREDIT) == dead(conn) == []
    assert len(queued(conn)) == 1


def test_a_day_that_is_billed_twice_counts_once(conn: Connection, worker: Worker) -> None:
    for _ in range(2):
        bill(conn, worker, DAYS[0], DAYS[0])

    assert rows(conn, CREDIT) == [(50, 0, 20, 0)]
    assert charged(conn) == [(50, "pending")]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("other_day", [DAYS[0], DAYS[1]])
def test_two_workers_at_once_count_each_day_once(conn: Connection, dsn: str, other_day: str, known: bool) -> None:  # noqa: FBT001
    if known:
        conn.execute("insert into hopsworks.user_credits (user_id) values (%s)", (ADA,))

    def other_bills() -> None:
        with billing_worker(dsn) as other:
            bill_beside(conn, other, other_day)

    with billing_worker(dsn, [other_bills]) as worker:
        bill(conn, worker, DAYS[0])

    days = len({DAYS[0], other_day})
    assert rows(conn, "select count(*) from hopsworks.usage_daily") == [(days,)]
    assert rows(conn, CREDIT) == [(50 * days, 0, 20 * days, 0)]
    assert charged(conn) == [(50, "pending")] * days


def bill_beside(conn: Connection, other: Worker, day: str) -> None:
    """What the first has in hand is not due for the other."""
    send_bill(conn, day)
    assert other.run() == 1


def test_a_payment_meanwhile_is_seen_by_the_charge(conn: Connection, dsn: str) -> None:
    with billing_worker(dsn) as worker:
        bill(conn, worker, DAYS[0])
    with billing_worker(dsn, [lambda: pay(conn, 50)]) as worker:
        bill(conn, worker, DAYS[1])

    assert rows(conn, CREDIT) == [(100, 50, 40, 0)]
    assert charged(conn) == [(50, "paid"), (50, "pending")]


def test_the_first_payment_of_all_meanwhile_is_seen_too(conn: Connection, dsn: str) -> None:
    with billing_worker(dsn, [lambda: pay(conn, 20)]) as worker:
        bill(conn, worker, DAYS[0])

    assert rows(conn, CREDIT) == [(50, 20, 20, 0)]
    assert charged(conn) == []


def test_a_worker_that_died_is_replaced_and_changes_nothing_if_it_comes_back(conn: Connection, dsn: str) -> None:
    with billing_worker(dsn) as lost, billing_worker(dsn) as next_one:
        send_bill(conn, DAYS[0])
        tasks = lost.claim()
        set_clock(conn, "2030-03-08 12:05")
        assert next_one.run() == 1

        work(lost.running, tasks)

    assert rows(conn, CREDIT) == [(50, 0, 20, 0)]
    assert charged(conn) == [(50, "pending")]


def test_a_bill_that_was_withdrawn_by_hand_can_be_written_again(conn: Connection, worker: Worker) -> None:
    bill(conn, worker, DAYS[0])
    conn.execute("delete from hopsworks.usage_daily")
    conn.execute("update hopsworks.user_credits set total_used = 0")
    conn.execute("update hopsworks.billing_history set status = 'cancelled'")
    bill(conn, worker, DAYS[0])

    assert charged(conn) == [(50, "cancelled")]
    assert rows(conn, "select total_cost from hopsworks.usage_daily") == [(50,)]


def test_a_bill_that_became_a_dead_letter_is_not_sent_again(conn: Connection, dsn: str) -> None:
    conn.execute("update hopsworks.usage_hours set gpu_hours = 1e9 where day = %s", (DAYS[0],))
    conn.execute("alter table hopsworks.usage_daily add check (gpu_hours < 1e6)")
    with billing_worker(dsn, attempts=1) as worker:
        for _ in range(2):
            send(conn, QUEUE, {"action": "bill"})
            worker.run()

    assert [row[0] for row in rows(conn, "select date::text from hopsworks.usage_daily order by 1")] == list(DAYS[1:])
    assert len(dead(conn)) == 1
    assert queued(conn) == []


def test_a_refund_that_is_pending_is_charged_to_nobody(conn: Connection, worker: Worker) -> None:
    conn.execute("insert into hopsworks.billing_history (user_id, amount) values (%s, -100)", (ADA,))

    bill(conn, worker, DAYS[0])

    assert sorted(charged(conn)) == [(-100, "pending"), (50, "pending")]
