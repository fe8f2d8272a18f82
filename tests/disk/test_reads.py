"""Disks and the line: who is kept by a disk, what a dry run answers, and what a timeline tells of a disk."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgfleet.schema.errors import Refusal
from pgfleet.schema.reads import about
from pgfleet.schema.reads import disk as disk_reads
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.hold import Asked, purge_date, with_disk
from pgfleet.schema.reads.place import DISK_CODES, Place, place
from pgfleet.schema.reads.trial import DryRun
from worlds.database import Connection
from worlds.rows_of_disks import change_disk, change_snapshot, clean, disk, reservation, snapshot

GRACE, KEPT = timedelta(minutes=2), timedelta(days=30)
STARTS = DryRun(starts_now=True, code=None, reason="16 of 16 GPUs are free and nobody waits")
WAITS = DryRun(starts_now=False, code="NO_CAPACITY", reason="none free", ahead=3)


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        clean(conn)
        yield conn


def line(conn: Connection) -> list[str]:
    return [unit.key for unit in reads.lines(conn, ["h100"], GRACE)["h100"].standing.line]


def place_of(conn: Connection, reservation_id: str) -> Place:
    row = reads.by_id(conn, reservation_id)
    assert row is not None
    found = place(row, reads.lines(conn, ["h100"], GRACE)["h100"])
    assert found is not None
    return found


def hinder(conn: Connection, how: str, wanting: str) -> None:
    """Bring the disk `data` into a state."""
    match how:
        case "creating" | "available" | "deleted":
            disk(conn, status=how)
        case "its own":
            disk(conn, status="attached", reservation_id=wanting)
        case "its own, and a snapshot is made of it":
            snapshot(conn, disk(conn, status="attached", reservation_id=wanting), "creating")
        case "its own, and being released":
            disk(conn, status="attached", reservation_id=wanting, release_asked_at="2026-11-20")
        case "another's":
            disk(conn, status="attached", reservation_id=reservation(conn, "active"))
        case "of a reservation that is gone":
            disk(conn, status="attached")
        case "being released":
            snapshot(conn, disk(conn, status="attached", release_asked_at="2026-11-20"), "creating")
        case "being copied":
            snapshot(conn, disk(conn), "pending")
        case "somebody else's":
            disk(conn, status="attached", user="bob")


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("not there", None),
        ("available", None),
        ("its own", None),
        ("its own, and a snapshot is made of it", None),
        ("somebody else's", None),
        ("its own, and being released", "DISK_IN_USE"),
        ("another's", "DISK_IN_USE"),
        ("of a reservation that is gone", "DISK_IN_USE"),
        ("being released", "SNAPSHOT_PENDING"),
        ("being copied", "SNAPSHOT_PENDING"),
        ("creating", "SNAPSHOT_PENDING"),
    ],
)
def test_whoever_is_kept_by_a_disk_is_not_in_the_line_and_its_eta_is_unknown(
    conn: Connection, how: str, code: str | None
) -> None:
    kept, behind = reservation(conn), reservation(conn, disk_name=None)
    hinder(conn, how, kept)

    mine, others = place_of(conn, kept), place_of(conn, behind)

    assert line(conn) == ([behind] if code else [kept, behind])
    assert mine.code == (code or "NO_CAPACITY")
    assert (mine.eta is None) == (code is not None)
    assert others.ahead == (0 if code else 1)
    assert others.eta is not None


def test_a_reservation_with_a_deleted_disk_lets_others_pass(conn: Connection) -> None:
    reservation(conn)
    behind = reservation(conn, disk_name=None)
    hinder(conn, "deleted", "")

    assert line(conn) == [behind]


def test_only_the_first_node_of_a_gang_is_kept_by_a_disk(conn: Connection) -> None:
    # Rows of an older version: today the database refuses a disk on any node but the first.
    conn.execute("alter table public.reservations disable trigger keep_to_first_node_new")
    first, second = (reservation(conn, node_index=number) for number in range(2))
    conn.execute("alter table public.reservations enable trigger keep_to_first_node_new")
    hinder(conn, "another's", "")

    assert line(conn) == [second]
    assert place_of(conn, first).code == "DISK_IN_USE"


@pytest.mark.parametrize("code", sorted(DISK_CODES))
def test_a_worker_that_has_seen_the_disk_in_use_is_believed(conn: Connection, code: str) -> None:
    told = reservation(conn, current_detailed_status=f"{code}: disk data")
    disk(conn)

    found = place_of(conn, told)

    assert (found.code, found.eta) == (code, None)


def test_of_one_that_no_longer_waits_a_busy_disk_is_no_reason(conn: Connection) -> None:
    row_id = reservation(conn, "active")
    hinder(conn, "being copied", row_id)

    row = reads.by_id(conn, row_id)

    assert row is not None
    assert (row["disk_name"], row["disk_status"], row["disk_size_gb"]) == ("data", "available", 100)
    assert row["disk_reason_code"] is None


# --- dry run


def answer(conn: Connection, before: DryRun = STARTS, size_gb: int | None = None) -> DryRun:
    found = disk_reads.by_name(conn, "ada", "data")
    assert found is not None
    return with_disk(before, Asked(found, size_gb, KEPT, about.now(conn)))


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("available", None, "GPUs are free"),
        ("another's", "DISK_IN_USE", "disk data is in use by reservation "),
        ("of a reservation that is gone", "DISK_IN_USE", "by a reservation that is gone"),
        ("being released", "SNAPSHOT_PENDING", "a snapshot of disk data is not completed, 0 %"),
        ("being copied", "SNAPSHOT_PENDING", "a snapshot of disk data is not completed, 0 %"),
        ("creating", "SNAPSHOT_PENDING", "disk data is being made"),
    ],
)
def test_a_dry_run_answers_from_the_disks_row(conn: Connection, how: str, code: str | None, said: str) -> None:
    hinder(conn, how, "")

    found = answer(conn)

    assert (found.starts_now, found.code) == (code is None, code)
    assert said in found.reason


def test_a_snapshot_is_told_with_its_progress_and_the_least_advanced_counts(conn: Connection) -> None:
    disk_id = disk(conn)
    for percent in (70, 40):
        change_snapshot(conn, snapshot(conn, disk_id, "creating"), progress_percent=percent)

    assert answer(conn).reason == "a snapshot of disk data is not completed, 40 %"


def test_a_disk_is_told_before_others_in_the_line_and_they_are_still_counted(conn: Connection) -> None:
    hinder(conn, "being copied", "")

    found = answer(conn, WAITS)

    assert (found.code, found.ahead, found.eta) == ("SNAPSHOT_PENDING", 3, None)


@pytest.mark.parametrize("code", ["REJECTED", "TYPE_DISABLED"])
def test_what_is_worse_is_told_first(conn: Connection, code: str) -> None:
    hinder(conn, "being copied", "")
    before = DryRun(starts_now=False, code=code, reason="no")

    assert answer(conn, before) == before


@pytest.mark.parametrize(
    ("status", "columns", "said"),
    [
        ("deleted", {"delete_date": "2999-12-24"}, "until 2999-12-24 `pgfleet disk undelete data` brings it back"),
        ("deleted", {"marked_deleted_at": "2999-11-01T12:00:00Z"}, "until 2999-12-01 `pgfleet disk undelete"),
        ("deleted", {"delete_date": "2020-01-01"}, "disk data is deleted, and being purged"),
        ("purged", {}, "disk data is purged"),
        ("failed", {}, "disk data could not be made: why failed"),
    ],
)
def test_with_a_disk_that_never_comes_it_would_be_rejected(
    conn: Connection, status: str, columns: dict[str, Any], said: str
) -> None:
    disk(conn, status=status, **columns)

    found = answer(conn)

    assert (found.starts_now, found.code) == (False, "REJECTED")
    assert said in found.reason


def test_another_size_than_the_disk_has_would_be_rejected(conn: Connection) -> None:
    disk(conn)

    assert answer(conn, size_gb=100).starts_now
    assert answer(conn, size_gb=200).reason == "disk data has 100 GB, not 200"


def test_only_a_deleted_disk_has_a_purge_date(conn: Connection) -> None:
    disk_id = disk(conn, delete_date="2026-12-24")
    before = disk_reads.by_name(conn, "ada", "data")
    change_disk(conn, disk_id, status="deleted")
    after = disk_reads.by_name(conn, "ada", "data")

    assert before is not None
    assert purge_date(before, KEPT) is None
    assert after is not None
    assert str(purge_date(after, KEPT)) == "2026-12-24"


# --- one disk


def test_a_snapshot_is_meant_by_a_beginning_that_is_unique_among_its_disks(conn: Connection) -> None:
    mine, other = disk(conn), disk(conn, "other")
    first = snapshot(conn, mine, snapshot_id="aaaa0000-0000-4000-8000-000000000001")
    snapshot(conn, mine, snapshot_id="aabb0000-0000-4000-8000-000000000002")
    snapshot(conn, other, snapshot_id="aaaa0000-0000-4000-8000-000000000003")
    row = disk_reads.resolve(conn, "data", "ada")

    assert disk_reads.resolve_snapshot(conn, row, "AAAA")["snapshot_id"] == first
    with pytest.raises(Refusal, match="beginning of several snapshots") as several:
        disk_reads.resolve_snapshot(conn, row, "aa")
    assert first in str(several.value)
    with pytest.raises(Refusal, match="pgfleet disk show data"):
        disk_reads.resolve_snapshot(conn, row, "ff")


def test_a_disk_of_nobody_is_refused_with_whose_it_is(conn: Connection) -> None:
    disk(conn, "theirs", user="bob")

    with pytest.raises(Refusal, match="--user bob has one"):
        disk_reads.resolve(conn, "theirs", "ada")
    with pytest.raises(Refusal, match="pgfleet disk create none"):
        disk_reads.resolve(conn, "none", "ada")


def test_a_timeline_tells_the_moves_of_the_disk_and_of_the_snapshots_taken_for_it(conn: Connection) -> None:
    disk_id = disk(conn)
    row_id = reservation(conn, "active")
    change_disk(conn, disk_id, status="attached", reservation_id=row_id, status_reason="for it")
    taken = snapshot(conn, disk_id, "completed", reservation_id=row_id)
    snapshot(conn, disk_id, "completed")
    change_disk(conn, disk_id, status="available", reservation_id=None, status_reason="released")
    query = "update public.reservations set reservation_ended = public.fleet_now() where reservation_id = %s"
    conn.execute(query, (row_id,))
    change_disk(conn, disk_id, status="deleted")
    row = reads.by_id(conn, row_id)
    assert row is not None

    told = disk_reads.of_reservation(conn, row)

    assert [(move["machine"], move["to_status"]) for move in told] == [
        ("disk", "attached"),
        ("disk_snapshot", "pending"),
        ("disk_snapshot", "creating"),
        ("disk_snapshot", "completed"),
        ("disk", "available"),
    ]
    assert {move["row_id"] for move in told} == {disk_id, taken}
