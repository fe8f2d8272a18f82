"""`pgfleet doctor` on disks: counters, disks that nobody lets go, slow snapshots, quarantine, forgotten rows."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgfleet.schema.doctor.disks import DISKS
from pgfleet.schema.doctor.examination import CHECKS, examine
from pgfleet.schema.doctor.findings import LIMITS, Finding, Severity
from pgfleet.schema.doctor.forgotten import TICKETS
from worlds.database import Connection
from worlds.fleet import send
from worlds.rows_of_disks import (
    HARMLESS,
    HOSTILE,
    QUEUE,
    change_disk,
    change_snapshot,
    clean,
    disk,
    operation,
    reservation,
    snapshot,
)

DISK_ID, SNAPSHOT_ID, OPERATION_ID = (f"5f0c2b1e-90d3-4a54-9c44-00000000000{number}" for number in range(3))
REPAIRED = "a running disk worker repairs it within a minute: pgfleet worker disk"


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        clean(conn)
        yield conn


def found(conn: Connection) -> list[Finding]:
    """Of disks: reservations without a message are another's."""
    checks = [check for check in CHECKS if check.name in {DISKS, TICKETS}]
    findings = [finding for finding in examine(conn, LIMITS, checks) if finding.severity is not Severity.OK]
    return [finding for finding in findings if finding.check == DISKS or "pgfleet worker disk" in str(finding.remedy)]


def test_disks_at_rest_are_no_finding(conn: Connection) -> None:
    snapshot(conn, disk(conn))
    disk(conn, "used", "attached", ebs_volume_id="vol-1", reservation_id=reservation(conn, "active"))
    operation(conn, "completed")
    operation(conn, "failed")

    assert found(conn) == []


def test_a_release_that_takes_long_says_what_it_waits_for(conn: Connection) -> None:
    held = reservation(conn, "cancelled")
    said = "Its volume is still attached to i-1"
    slow = disk(conn, status="attached", ebs_volume_id="vol-1", reservation_id=held, detail=said)
    disk(conn, "quick", "attached", ebs_volume_id="vol-2", release_asked_at="now")
    change_disk(conn, slow, release_asked_at="2026-01-01T12:00:00Z")

    (finding,) = found(conn)

    assert finding.severity is Severity.WARNING
    assert finding.text.startswith("data of ada has been in release for ")
    assert finding.text.endswith(said)
    assert "pgfleet disk show data --user ada" in str(finding.remedy)


# --- counters


def test_counters_that_are_wrong_are_an_error_that_its_remedy_repairs(conn: Connection) -> None:
    disk_id = disk(conn)
    snapshot(conn, disk_id)
    waiting = snapshot(conn, disk_id, "pending")
    send(conn, QUEUE, {"action": "advance_snapshot", "snapshot_id": waiting, "ticket": 0})
    change_disk(conn, disk_id, snapshot_count=5, pending_snapshot_count=0)

    (finding,) = found(conn)
    conn.execute((finding.remedy or "").encode())

    assert finding.severity is Severity.ERROR
    assert finding.text == "data of ada: 5 snapshots and 0 pending ones are counted, there are 1 and 1"
    assert found(conn) == []


# --- attached, and nobody's


@pytest.mark.parametrize("name", ["data", "-x", HOSTILE])
def test_a_disk_whose_reservation_is_gone_is_told_with_how_to_release_it(conn: Connection, name: str) -> None:
    disk(conn, name, "attached", ebs_volume_id="vol-1")

    (finding,) = found(conn)

    shown = HARMLESS if name == HOSTILE else name
    assert finding.severity is Severity.WARNING
    assert finding.text == f"{shown} of ada is attached, and its reservation is gone"
    assert finding.remedy == f"pgfleet disk unlock {'data' if name == 'data' else 'NAME'} --user ada"


def ended(conn: Connection, status: str, age: str) -> str:
    row_id = reservation(conn, status)
    query = "update public.reservations set status_since = now() - %s::interval where reservation_id = %s"
    conn.execute(query, (age, row_id))
    return row_id


@pytest.mark.parametrize(
    ("status", "age", "release_asked_at", "told"),
    [
        ("cancelled", "3 hours", None, True),
        ("failed", "3 hours", None, True),
        ("cancelled", "30 minutes", None, False),
        ("active", "3 days", None, False),
        ("cancelled", "3 hours", "2026-11-20", False),
    ],
)
def test_a_disk_is_told_when_its_reservation_has_ended_long_ago_and_nobody_has_asked_for_its_release(
    conn: Connection, status: str, age: str, release_asked_at: str | None, *, told: bool
) -> None:
    held = ended(conn, status, age)
    columns: dict[str, Any] = {"reservation_id": held, "ebs_volume_id": "vol-1", "release_asked_at": release_asked_at}
    disk(conn, status="attached", disk_id=DISK_ID, **columns)
    send(conn, QUEUE, {"action": "advance_disk", "disk_id": DISK_ID, "ticket": 0})

    assert [finding.text for finding in found(conn)] == (
        [f"data of ada is attached, and its reservation {held[:8]} ended 3 h ago"] if told else []
    )


# --- snapshots that take long, and what nobody accounts for


@pytest.mark.parametrize(("age", "told"), [("25 hours", True), ("23 hours", False)])
@pytest.mark.parametrize("status", ["pending", "creating", "completed"])
def test_a_snapshot_that_takes_more_than_a_day_is_a_warning(
    conn: Connection, status: str, age: str, *, told: bool
) -> None:
    snapshot(conn, disk(conn), status, snapshot_id=SNAPSHOT_ID)
    conn.execute("update public.disk_snapshots set created_at = now() - %s::interval", (age,))
    send(conn, QUEUE, {"action": "advance_snapshot", "snapshot_id": SNAPSHOT_ID, "ticket": 0})

    findings = found(conn)

    assert len(findings) == (told and status != "completed")
    for finding in findings:
        assert finding.severity is Severity.WARNING
        assert finding.text.endswith(f"more than a day: {SNAPSHOT_ID[:8]} (data of ada)")
        assert (finding.remedy or "").startswith("pgfleet disk show data --user ada says how far it is")


def test_what_is_in_quarantine_is_a_warning_until_it_is_gone(conn: Connection) -> None:
    conn.execute(
        "insert into public.disk_quarantine (resource_id, reason) values ('snap-1', 'unknown'), ('vol-1', 'x')"
    )

    (finding,) = found(conn)
    conn.execute("update public.disk_quarantine set gone_at = now()")

    assert finding.severity is Severity.WARNING
    assert finding.text == "2 volumes or snapshots at AWS are accounted for by no row: snap-1, vol-1"
    assert (finding.remedy or "").startswith("pgfleet disk quarantine")
    assert found(conn) == []


# --- live rows without a message


def live_disk(conn: Connection, how: str) -> None:
    columns: dict[str, Any] = {
        "attached without a volume": {},
        "attached, its volume new": {"volume_is_new": True},
    }.get(how, {"release_asked_at": "2026-11-20"})
    volume = {} if how == "attached without a volume" else {"ebs_volume_id": "vol-1"}
    if how.startswith("attached"):
        held = reservation(conn, "active")
        disk(conn, status="attached", disk_id=DISK_ID, reservation_id=held, **volume, **columns)
    else:
        disk(conn, status=how, disk_id=DISK_ID)
    change_disk(conn, DISK_ID, ticket=2)


def live(conn: Connection, what: str, age_s: float) -> None:
    kind, _, how = what.partition(": ")
    if kind == "disks":
        live_disk(conn, how)
    if kind == "snapshots":
        first = disk(conn)
        snapshot(conn, first)
        change_snapshot(conn, snapshot(conn, first, how, snapshot_id=SNAPSHOT_ID), ticket=2)
    if kind == "operations":
        operation(conn, how, operation_id=OPERATION_ID)
    for table in ("disks", "disk_snapshots", "disk_operations"):
        query = f"update public.{table} set status_since = now() - make_interval(secs => %s)"
        conn.execute(query.encode(), (age_s,))


TURN_OF_DISK = {"action": "advance_disk", "disk_id": DISK_ID, "ticket": 2}
TURN_OF_SNAPSHOT = {"action": "advance_snapshot", "snapshot_id": SNAPSHOT_ID, "ticket": 2}
LIVE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            "disks: creating",
            "disks: deleted",
            "disks: attached without a volume",
            "disks: attached, its volume new",
            "disks: attached, its release asked for",
        ),
        TURN_OF_DISK,
    ),
    **dict.fromkeys(("snapshots: pending", "snapshots: creating", "snapshots: deleting"), TURN_OF_SNAPSHOT),
    "operations: pending": {"action": "proceed", "operation_id": OPERATION_ID},
}
IDS = {"disks": DISK_ID, "snapshots": SNAPSHOT_ID, "operations": OPERATION_ID}


@pytest.mark.parametrize(("age_s", "severity"), [(100, Severity.WARNING), (300, Severity.ERROR)])
@pytest.mark.parametrize("what", LIVE)
def test_a_live_row_without_a_message_is_told_by_how_long_it_is_so(
    conn: Connection, what: str, age_s: float, severity: Severity
) -> None:
    live(conn, what, age_s)

    (finding,) = found(conn)

    kind = what.partition(":")[0]
    assert (finding.severity, finding.remedy) == (severity, REPAIRED)
    assert finding.text == f"1 live {kind} without a message: {IDS[kind]}"


@pytest.mark.parametrize("what", LIVE)
def test_its_message_makes_it_well_and_one_of_another_row_or_an_older_ticket_does_not(
    conn: Connection, what: str
) -> None:
    live(conn, what, 100)
    for name in ("disk_id", "snapshot_id", "operation_id"):
        send(conn, QUEUE, {**LIVE[what], name: "5f0c2b1e-90d3-4a54-9c44-00000000000f"} if name in LIVE[what] else {})
    if "ticket" in LIVE[what]:
        send(conn, QUEUE, {**LIVE[what], "ticket": 1})
    assert len(found(conn)) == 1

    send(conn, QUEUE, LIVE[what])

    assert found(conn) == []


@pytest.mark.parametrize("what", [*LIVE, "operations: in_progress", "snapshots: completed", "disks: available"])
def test_what_is_young_or_at_rest_needs_no_message(conn: Connection, what: str) -> None:
    live(conn, what, 5 if what in LIVE else 1000)

    assert found(conn) == []


def test_a_completed_snapshot_whose_listing_is_still_to_be_written_needs_its_message(conn: Connection) -> None:
    live(conn, "snapshots: completed", 100)
    change_snapshot(conn, SNAPSHOT_ID, contents="4.0K\t.")

    (finding,) = found(conn)

    assert finding.text == f"1 live snapshots without a message: {SNAPSHOT_ID}"
    send(conn, QUEUE, TURN_OF_SNAPSHOT)
    assert found(conn) == []
