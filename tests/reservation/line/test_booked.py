"""Booked ahead: GPUs are kept free from then on, it starts then, and what can't be kept is said with other times."""

from datetime import timedelta
from typing import Any

import pytest

from pgfleet.schema.printable import minute
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.about import now
from pgfleet.schema.reads.place import place
from pgfleet.schema.reads.trial import DryRun, dry_run
from pgfleet.schema.reservation import CreateReservation
from worlds.fleet import Connection, Worker, assert_sound, move_clock, new_id, row_of
from worlds.reservations import active, create, letters, reach, status_of

H = 3600
GRACE = timedelta(seconds=120)


def booked(conn: Connection, worker: Worker, in_h: float, **fields: Any) -> str:
    at = now(conn) + timedelta(hours=in_h)
    row_id = create(conn, start_at=at.isoformat(), **fields)
    worker.run()
    return row_id


def asked(conn: Connection, in_h: float, gpus: int = 8, hours: float = 4) -> DryRun:
    message = CreateReservation(
        reservation_id=new_id(),
        user_id="ada",
        gpu_type="h100",
        gpu_count=gpus,
        duration_hours=hours,
        start_at=now(conn) + timedelta(hours=in_h),
    )
    return dry_run(message, reads.types(conn)["h100"], reads.lines(conn, ["h100"], GRACE)["h100"], 72)


def shown(conn: Connection, row_id: str) -> str:
    return str(row_of(conn, row_id)["current_detailed_status"])


def test_a_booking_waits_for_its_time_and_starts_then(conn: Connection, worker: Worker) -> None:
    row_id = booked(conn, worker, 60)
    row = row_of(conn, row_id)
    assert row["status"] == "queued"
    assert shown(conn, row_id) == f"SCHEDULED: it starts at {minute(row['start_at'])}"

    move_clock(conn, 59.9 * H)
    worker.run()
    assert status_of(conn, row_id) == "queued", "neither started, nor given up for waiting"
    move_clock(conn, 0.1 * H)
    begun = reach(conn, worker, row_id, "active")

    assert (begun["launched_at"] - row["start_at"]).total_seconds() < 300
    assert_sound(conn)


def test_its_gpus_are_kept_free_from_then_on_and_not_before(conn: Connection, worker: Worker) -> None:
    booked(conn, worker, 5, gpu_count=8)
    booked(conn, worker, 5, gpu_count=8)

    long, short = create(conn, gpu_count=2, duration_hours=8), create(conn, gpu_count=2, duration_hours=4)

    reach(conn, worker, short, "active")
    worker.run()
    assert shown(conn, long) == "BEHIND_OTHERS: its GPUs are kept for those that are booked"


def test_a_booking_that_would_not_hold_is_refused_with_other_times(conn: Connection, worker: Worker) -> None:
    for _ in range(2):
        active(conn, worker, gpu_count=8, duration_hours=6)

    row_id = booked(conn, worker, 5, gpu_count=8)

    (refusal,) = letters(conn)
    assert status_of(conn, row_id) is None
    assert refusal.startswith("start_at: not all its GPUs are free from ")
    assert refusal.count(" UTC") == 4, "three other times"


def test_of_bookings_at_once_for_the_same_gpus_as_many_are_kept_as_there_is_room_for(
    conn: Connection, worker: Worker
) -> None:
    at = (now(conn) + timedelta(hours=5)).isoformat()
    ids = [create(conn, gpu_count=8, start_at=at) for _ in range(3)]

    worker.run()

    (refusal,) = letters(conn)
    assert sorted(str(status_of(conn, row_id)) for row_id in ids) == ["None", "queued", "queued"]
    assert "possible: " in refusal


def test_a_dry_run_says_whether_it_would_hold_and_when_it_would(conn: Connection, worker: Worker) -> None:
    for _ in range(2):
        active(conn, worker, gpu_count=8, duration_hours=6)

    assert asked(conn, 7).is_booked
    refused = asked(conn, 5)
    assert (refused.is_booked, refused.code, len(refused.next_times)) == (False, "REJECTED", 3)
    assert asked(conn, 15 * 24).reason == "start_at: at most 14 days ahead"


def test_one_that_can_not_be_kept_any_more_says_so_before_its_time(conn: Connection, worker: Worker) -> None:
    row_id = booked(conn, worker, 5, gpu_count=8)

    conn.execute("update public.gpu_types set total_cluster_gpus = 4 where gpu_type = 'h100'")
    move_clock(conn, 61)
    worker.run()

    at = minute(row_of(conn, row_id)["start_at"])
    assert shown(conn, row_id) == f"SCHEDULED: it can't start at {at} as booked; nobody knows when it can"


def test_one_that_could_not_start_in_time_is_told_why(conn: Connection, worker: Worker) -> None:
    row_id = booked(conn, worker, 5, gpu_count=8)
    conn.execute("update public.gpu_types set total_cluster_gpus = 4 where gpu_type = 'h100'")

    move_clock(conn, 5 * H + 301)
    worker.run()

    warning = str(row_of(conn, row_id)["warning"])
    assert warning.startswith("It could not start when it was booked for. NO_CAPACITY: 8 GPUs wanted, 4 of 4 free")


def test_its_place_is_told_by_its_time(conn: Connection, worker: Worker) -> None:
    row_id = booked(conn, worker, 5, gpu_count=8)

    row = reads.by_id(conn, row_id)
    assert row is not None
    found = place(row, reads.lines(conn, ["h100"], GRACE)["h100"])

    assert found is not None
    assert (found.code, found.ahead, found.is_promised) == ("SCHEDULED", 0, True)
    assert found.eta is not None
    assert abs(found.eta - row["start_at"]) < timedelta(seconds=1)


@pytest.mark.parametrize("start_at", ["2026-11-28T14:03:00", "tomorrow"])
def test_a_time_without_its_zone_is_no_time(conn: Connection, worker: Worker, start_at: str) -> None:
    create(conn, start_at=start_at)

    worker.run()

    (refusal,) = letters(conn)
    assert refusal.startswith("start_at: ")


def test_what_was_asked_for_in_time_and_is_read_later_starts_at_once(conn: Connection, worker: Worker) -> None:
    row_id = create(conn, start_at=(now(conn) + timedelta(hours=1)).isoformat())
    move_clock(conn, 2 * H)

    assert reach(conn, worker, row_id, "active")["start_at"] is None


def test_a_time_that_was_over_when_it_was_asked_for_is_refused(conn: Connection, worker: Worker) -> None:
    """It is a slip: to start now would not be what is meant."""
    create(conn, start_at=(now(conn) - timedelta(hours=1)).isoformat())
    worker.run()

    (refusal,) = letters(conn)
    assert "was over when it was asked for" in refusal
    assert "was over" in asked(conn, -1).reason
    assert asked(conn, -0.01).starts_now
