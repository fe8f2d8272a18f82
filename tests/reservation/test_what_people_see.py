"""What people see and do when a reservation is lost, or has ended and is not gone."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgfleet.schema.doctor.examination import CHECKS, examine
from pgfleet.schema.doctor.findings import LIMITS, Finding, Severity
from pgfleet.schema.doctor.rows import STUCK
from pgfleet.schema.reservation import retried_id
from worlds.commands import Pgfleet
from worlds.database import Connection
from worlds.fleet import move_clock, new_id, row_of
from worlds.rows_of_disks import clean, disk

POD = "its pod gpu-dev-3f2a9c1e on node n1 is terminating"
ROW = "3f2a9c1e-0000-4000-8000-000000000001"

# Stands for a worker that rejects at once.
REJECT_ALL = (
    """
    create function public.reject_all() returns trigger language plpgsql security definer as $$
    begin
      insert into public.dead_letters (queue, msg_id, row_id, message, reason, enqueued_at)
      values ('gpu_reservations', new.msg_id, new.message ->> 'reservation_id', new.message,
        'gpu_type: h100 is switched off', now());
      return null;
    end $$
    """,
    """
    create trigger reject_all before insert on pgmq.q_gpu_reservations
    for each row execute function public.reject_all()
    """,
)


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        clean(conn)
        yield conn


def reservation(conn: Connection, status: str, row_id: str = ROW, **columns: Any) -> str:
    """A reservation of ada's of two h100, moved to a state by hand."""
    conn.execute(
        "insert into public.reservations"
        " (reservation_id, user_id, status, duration_hours, gpu_type, gpu_count, created_at, pod_name)"
        " values (%s, 'ada', 'pending', 4, 'h100', 2, public.fleet_now(), 'gpu-dev-3f2a9c1e')",
        (row_id,),
    )
    for stop in ("preparing", "active", *((status,) if status != "active" else ())):
        conn.execute("update public.reservations set status = %s where reservation_id = %s", (stop, row_id))
    sets = ", ".join(f"{name} = %({name})s" for name in columns)
    if columns:
        query = f"update public.reservations set {sets} where reservation_id = %(row_id)s"
        conn.execute(query.encode(), {"row_id": row_id, **columns})
    return row_id


def stuck(conn: Connection, **columns: Any) -> str:
    """One that was cancelled a quarter of an hour ago, on a node that does not answer."""
    row_id = reservation(conn, "cancelled", gpus_held=2, held_by=POD, **columns)
    conn.execute("update public.reservations set held_since = public.fleet_now()")
    move_clock(conn, 900)
    return row_id


def found(conn: Connection) -> list[Finding]:
    checks = [check for check in CHECKS if check.name == STUCK]
    return [finding for finding in examine(conn, LIMITS, checks) if finding.severity is not Severity.OK]


def bodies(conn: Connection, action: str) -> list[dict[str, Any]]:
    rows = conn.execute("select message from pgmq.q_gpu_reservations where message ->> 'action' = %s", (action,))
    return [row[0] for row in rows]


# --- retry


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired"])
def test_retry_sends_a_message_and_prints_the_new_id(pgfleet: Pgfleet, conn: Connection, status: str) -> None:
    row_id = reservation(conn, status)

    end = pgfleet("retry", "3f2a")

    assert end.code == 0, end.err
    assert end.out.strip() == retried_id(row_id)
    assert bodies(conn, "retry") == [{"action": "retry", "reservation_id": row_id, "user_id": "ada"}]


def test_the_same_retry_is_sent_once(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = reservation(conn, "failed")

    first, again, other = (pgfleet("retry", ROW, *more, "--json") for more in ((), (), ("--request-id", "b")))

    assert [end.json["sent"] for end in (first, again, other)] == [True, False, True]
    assert first.json == {"reservation_id": retried_id(row_id), "retried_from": row_id, "sent": True}
    assert again.json["reservation_id"] == retried_id(row_id)
    assert other.json["reservation_id"] == retried_id(row_id, "b")
    assert len(bodies(conn, "retry")) == 2


def test_a_live_reservation_is_not_retried(pgfleet: Pgfleet, conn: Connection) -> None:
    reservation(conn, "active")

    end = pgfleet("retry", "3f2a")

    assert end.code == 1
    assert "is active. First: pgfleet cancel 3f2a9c1e" in end.err
    assert bodies(conn, "retry") == []


def test_a_retry_that_is_refused_is_told_while_it_is_followed(pgfleet: Pgfleet, conn: Connection) -> None:
    reservation(conn, "failed")
    for statement in REJECT_ALL:
        conn.execute(statement)
    try:
        end = pgfleet("retry", ROW, "--wait", "--timeout", "20")
    finally:
        conn.execute("drop function public.reject_all() cascade")

    assert end.code == 1
    assert "rejected: gpu_type: h100 is switched off" in end.err


# --- what is seen of one that is stuck


def test_ls_shows_it_ahead_of_all_with_what_it_holds(pgfleet: Pgfleet, conn: Connection) -> None:
    stuck(conn)
    over = reservation(conn, "cancelled", new_id(), reservation_ended="2026-01-01T00:00:00Z")
    live = reservation(conn, "active", new_id(), expires_at="2999-01-01T00:00:00Z")

    shown, listed = pgfleet("ls"), pgfleet("ls", "--json").json

    assert [row["reservation_id"] for row in listed] == [ROW, live]
    assert over not in shown.out
    assert f"STUCK: holds 2 x h100: {POD} since " in shown.out
    assert listed[0]["is_stuck"] is True


def test_ls_shows_what_is_wrong_with_one_that_is_active(pgfleet: Pgfleet, conn: Connection) -> None:
    trouble = "NODE_SILENT: its node n1 does not answer since 12:00 UTC"
    reservation(conn, "active", expires_at="2999-01-01T00:00:00Z", current_detailed_status=trouble)
    reservation(conn, "active", new_id(), expires_at="2999-01-01T00:00:00Z", current_detailed_status="Ready")

    lines = pgfleet("ls").out.splitlines()

    assert sum(f"{trouble} (" in line for line in lines) == 1
    assert sum("Ready" in line for line in lines) == 0


def test_one_that_ended_just_now_is_not_stuck(pgfleet: Pgfleet, conn: Connection) -> None:
    reservation(conn, "cancelled", gpus_held=2)

    assert pgfleet("ls", "--json").json == []
    assert found(conn) == []


def test_watch_says_what_it_waits_for(pgfleet: Pgfleet, conn: Connection) -> None:
    stuck(conn)

    end = pgfleet("watch", ROW, "--once")

    assert end.out.count(POD) == 2, "in its head and in what happened"


def test_doctor_says_what_it_holds_and_what_to_do(conn: Connection) -> None:
    stuck(conn)

    (finding,) = found(conn)

    assert finding.severity is Severity.ERROR
    assert finding.text.startswith(
        f"reservation {ROW} of ada ended 15 min ago (cancelled) and still holds 2 x h100: {POD}"
    )
    assert finding.remedy is not None
    assert "kubectl -n default describe pod gpu-dev-3f2a9c1e" in finding.remedy
    assert f"pgfleet release {ROW} --force" in finding.remedy


def test_its_disk_says_what_it_waits_for(pgfleet: Pgfleet, conn: Connection) -> None:
    stuck(conn, disk_name="data")
    disk(conn, status="attached", reservation_id=ROW, ebs_volume_id="vol-1")

    shown = pgfleet("disk", "show", "data")
    dry_run = pgfleet(
        "submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--disk", "data", "--dry-run"
    )

    assert f"its reservation has ended: {POD} since " in shown.out
    assert f"in use by reservation 3f2a9c1e, which has ended: {POD} since " in dry_run.out + dry_run.err


# --- release


def test_release_without_force_says_what_it_would_do_and_does_nothing(pgfleet: Pgfleet, conn: Connection) -> None:
    stuck(conn, disk_name="data")

    end = pgfleet("release", ROW)

    assert end.code == 1
    for said in (
        "2 x h100 count as free",
        "without waiting for its node",
        "Disk data",
        f"pgfleet release {ROW} --force",
    ):
        assert said in end.err
    assert row_of(conn, ROW)["gpus_held"] == 2


def test_who_cant_be_asked_says_yes(pgfleet: Pgfleet, conn: Connection) -> None:
    stuck(conn)

    asked = pgfleet("release", ROW, "--force")
    assert asked.code == 1
    assert "--yes" in asked.err
    assert row_of(conn, ROW)["forced_at"] is None
    done = pgfleet("release", ROW, "--force", "--yes")

    assert done.code == 0, done.err
    row = row_of(conn, ROW)
    assert (row["gpus_held"], row["forced_by"]) == (0, "console:ada")
    assert bodies(conn, "advance") == [{"action": "advance", "reservation_id": ROW, "ticket": -1}]
    assert "released by force by console:ada" in pgfleet("ls").out
    assert "released by force, holding 2 GPUs" in pgfleet("watch", ROW, "--once").out


@pytest.mark.parametrize("status", ["active", "cancelled"])
def test_nothing_is_released_of_a_live_one_or_one_that_is_over(pgfleet: Pgfleet, conn: Connection, status: str) -> None:
    over = {"reservation_ended": "2026-01-01T00:00:00Z"} if status == "cancelled" else {}
    reservation(conn, status, **over)

    end = pgfleet("release", ROW, "--force", "--yes")

    assert end.code == 1
    assert ("pgfleet cancel" if status == "active" else "holds nothing") in end.err
