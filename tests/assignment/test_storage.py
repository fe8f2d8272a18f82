"""Gigabytes of persistent disks on the bill: the part of its month that a day is, for as long as a disk is there."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from worlds.fleet import Connection, Worker
from worlds.outside.usage import ADA, BOB, add_user, billing_worker, dead, rows, send_bill, set_clock

DAY, AFTER = "2030-03-05", "2030-03-06 01:00"
BILL = "select storage_gb_months, total_cost from hopsworks.usage_daily where user_id = %s and date = %s"
MADE = """
insert into public.disks (disk_id, user_id, disk_name, size_gb, status)
values (gen_random_uuid(), %s, %s, %s, 'creating') returning disk_id::text
"""
MOVED = """
insert into public.status_history (machine, row_id, from_status, to_status, reason, actor, at)
values ('disk', %s, %s, %s, 'x', 'test', %s)
"""


@pytest.fixture
def worker(conn: Connection, dsn: str) -> Iterator[Worker]:
    set_clock(conn, "2030-03-04 12:00")
    add_user(conn)
    with billing_worker(dsn) as running:
        yield running


def disk(conn: Connection, size_gb: int, at: str, user: str = ADA) -> str:
    set_clock(conn, at)
    ((disk_id,),) = rows(conn, MADE, user, f"d{at[8:10]}{size_gb}", size_gb)
    move(conn, disk_id, "available", at)
    return str(disk_id)


def move(conn: Connection, disk_id: str, status: str, at: str) -> None:
    set_clock(conn, at)
    conn.execute("update public.disks set status = %s where disk_id = %s", (status, disk_id))


def bill(conn: Connection, worker: Worker, user: str = ADA, day: str = DAY) -> tuple[Decimal, Decimal] | None:
    """(gigabyte months, cost) once the day is over."""
    set_clock(conn, AFTER)
    send_bill(conn, day, user)
    worker.run()
    found = rows(conn, BILL, user, day)
    assert dead(conn) == []
    return found[0] if found else None


def test_a_disk_costs_its_part_of_the_month(conn: Connection, worker: Worker) -> None:
    disk(conn, 310, "2030-03-04 12:00")

    assert bill(conn, worker) == (Decimal(10), Decimal(1))


def test_every_day_of_a_month_together_is_one_month_of_its_size(conn: Connection, worker: Worker) -> None:
    disk(conn, 100, "2030-02-01 00:00")
    set_clock(conn, AFTER)

    used = rows(
        conn,
        "select sum(u.storage_gb_months) from generate_series(date '2030-02-01', '2030-02-28', '1 day') d,"
        " hopsworks.use_of_day(d::date, null) u",
    )

    assert used[0][0].quantize(Decimal("0.000001")) == 100


def test_one_that_is_attached_and_released_in_a_day_is_there_all_day(conn: Connection, worker: Worker) -> None:
    made = disk(conn, 31, "2030-03-04 12:00")
    conn.execute("set session_replication_role = replica")
    for before, after, at in (("available", "attached", "06:00"), ("attached", "available", "18:00")):
        conn.execute(MOVED, (made, before, after, f"{DAY} {at}+00"))
    conn.execute("update public.disks set status_since = %s where disk_id = %s", (f"{DAY} 18:00+00", made))
    conn.execute("reset session_replication_role")

    assert bill(conn, worker) == (Decimal(1), Decimal("0.1"))


def test_one_made_at_noon_costs_half_a_day(conn: Connection, worker: Worker) -> None:
    disk(conn, 62, f"{DAY} 12:00")

    assert bill(conn, worker) == (Decimal(1), Decimal("0.1"))


def test_a_deleted_one_costs_nothing_from_then_on(conn: Connection, worker: Worker) -> None:
    made = disk(conn, 62, "2030-03-04 12:00")
    move(conn, made, "deleted", f"{DAY} 12:00")

    assert bill(conn, worker) == (Decimal(1), Decimal("0.1"))
    assert rows(conn, "select count(*) from hopsworks.use_of_day('2030-03-06', null)") == [(0,)]


def test_one_that_is_still_being_made_costs_nothing(conn: Connection, worker: Worker) -> None:
    set_clock(conn, "2030-03-04 12:00")
    conn.execute(
        "insert into public.disks (disk_id, user_id, disk_name, size_gb, status)"
        " values (gen_random_uuid(), %s, 'd', 100, 'creating')",
        (ADA,),
    )

    assert bill(conn, worker) is None


def test_each_user_pays_for_their_own(conn: Connection, worker: Worker) -> None:
    add_user(conn, BOB)
    disk(conn, 31, "2030-03-04 12:00")
    disk(conn, 62, "2030-03-04 12:00", BOB)

    assert bill(conn, worker) == (Decimal(1), Decimal("0.1"))
    assert bill(conn, worker, BOB) == (Decimal(2), Decimal("0.2"))


def test_what_was_stored_is_in_the_sum_of_all_days(conn: Connection, worker: Worker) -> None:
    disk(conn, 31, "2030-03-03 12:00")
    for day in ("2030-03-04", DAY):
        bill(conn, worker, day=day)

    assert rows(conn, "select storage_gb_months from hopsworks.user_credits where user_id = %s", ADA) == [(Decimal(2),)]
