"""`pgfleet disk`: what people see of their disks and ask of them; and reservations with a disk."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgfleet.console.commands.disk.show import app
from pgfleet.schema.disk import REQUESTS
from worlds.commands import Ended, Pgfleet
from worlds.database import Connection
from worlds.fleet import send
from worlds.rows_of_disks import (
    HARMLESS,
    HOSTILE,
    QUEUE,
    bodies,
    change_disk,
    change_snapshot,
    clean,
    disk,
    operation,
    reservation,
    snapshot,
)

CONTENTS = "s3://contents/ada/data/1.txt"
HOME = "what ada has in her home"
FREE = "16 of 16 GPUs are free and nobody waits; its nodes were never seen"
FIRST, SECOND = "9b1c0000-0000-4000-8000-000000000001", "9b1d0000-0000-4000-8000-000000000002"
# Commands about one disk, and what a worker is sent for them.
ASKED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "snapshot": (("data",), {"action": "snapshot_disk", "disk_name": "data", "kind": "manual"}),
    "delete": (("data",), {"action": "delete_disk", "disk_name": "data"}),
    "undelete": (("data",), {"action": "undelete_disk", "disk_name": "data"}),
    "clone": (("data", "copy"), {"action": "clone_disk", "source_disk": "data", "target_disk": "copy"}),
    "restore": (("data", "9b1c"), {"action": "restore_disk", "disk_name": "data", "snapshot_id": FIRST}),
    "unlock": (("data",), {"action": "clear_disk_lock", "disk_name": "data"}),
}


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        clean(conn)
        yield conn


def fleet(conn: Connection) -> str:
    """Ada's `data` is used by a reservation and has three snapshots and one that is made; other disks rest."""
    held = reservation(conn, "active", reservation_id="3f2a9c1e-0000-4000-8000-000000000001")
    data = disk(conn, status="attached", reservation_id=held, disk_size="42G", ebs_volume_id="vol-1", contents=HOME)
    snapshot(conn, data, snapshot_id=FIRST, content_s3=CONTENTS)
    snapshot(conn, data, snapshot_id=SECOND, kind="shutdown")
    snapshot(conn, data)
    change_snapshot(conn, snapshot(conn, data, "creating"), progress_percent=40, contents=HOME)
    change_disk(conn, data, detail="AWS copies it", latest_snapshot_content_s3=CONTENTS)
    disk(conn, "old", "deleted", delete_date="2999-12-24")
    disk(conn, "none#1", "purged")
    disk(conn, "theirs", user="bob")
    return data


def words(end: Ended, name: str) -> str:
    return next(line for line in end.out.splitlines() if line.startswith(name))


# --- ls


def test_without_a_disk_it_says_how_to_make_one(pgfleet: Pgfleet) -> None:
    end = pgfleet("disk")

    assert end.code == 0
    assert "pgfleet disk create NAME" in end.out


def test_disks_are_listed_with_who_uses_them_their_snapshots_and_what_they_wait_for(
    pgfleet: Pgfleet, conn: Connection
) -> None:
    fleet(conn)

    end = pgfleet("disk", "ls")

    data, old = words(end, "data"), words(end, "old")
    assert all(word in data for word in ("ada", "attached", "100 GB", "42G", "3f2a9c1e", "AWS copies it"))
    assert "3 (+1 pending 40 %)" in data
    assert "2999-12-24" in old
    assert "theirs" in end.out
    assert "none#1" not in end.out


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), ["data", "old", "theirs"]),
        (("--user", "bob"), ["theirs"]),
        (("--all",), ["data", "none#1", "old", "theirs"]),
        (("--limit", "1"), ["data"]),
    ],
)
def test_ls_takes_its_options_with_and_without_its_name(
    pgfleet: Pgfleet, conn: Connection, options: tuple[str, ...], found: list[str]
) -> None:
    fleet(conn)

    for command in (("disk",), ("disk", "ls")):
        assert [row["disk_name"] for row in pgfleet(*command, *options, "--json").json["disks"]] == found


# --- show


def test_a_disk_is_shown_with_its_snapshots_operations_and_history(pgfleet: Pgfleet, conn: Connection) -> None:
    data = fleet(conn)
    operation(conn, "failed", action="restore_disk", error="it is in use", disk_id=data)
    operation(conn, "in_progress", action="clone_disk", disk_name="copy", body={"source_disk": "data"})

    end = pgfleet("disk", "show", "data")

    assert "reservation 3f2a9c1e-0000-4000-8000-000000000001 (active)" in end.out
    first = words(end, "9b1c0000")
    assert all(word in first for word in ("manual", "completed", CONTENTS))
    assert "shutdown" in words(end, "9b1d0000")
    assert "40 %" in end.out
    assert all(word in end.out for word in ("restore_disk", "it is in use", "clone_disk data", "in_progress"))
    assert "why attached" in end.out


def test_what_was_asked_of_an_earlier_disk_of_its_name_is_not_its_own(pgfleet: Pgfleet, conn: Connection) -> None:
    operation(conn, "completed", disk_id=disk(conn, "data#1", "purged"))
    operation(conn, "failed", error="there was none")
    disk(conn, created_at="2999-01-01T00:00:00Z")

    assert pgfleet("disk", "show", "data", "--json").json["operations"] == []


def test_what_is_on_a_disk_is_shown_nowhere(pgfleet: Pgfleet, conn: Connection) -> None:
    fleet(conn)

    for command in (("disk", "show", "data"), ("disk", "ls")):
        for end in (pgfleet(*command), pgfleet(*command, "--json")):
            assert HOME not in end.out + end.err


def test_a_deleted_disk_is_shown_with_how_to_bring_it_back(pgfleet: Pgfleet, conn: Connection) -> None:
    disk(conn, status="deleted", marked_deleted_at="2999-11-01T12:00:00Z")

    end = pgfleet("disk", "show", "data")

    assert "2999-12-01; until then `pgfleet disk undelete data`" in end.out
    assert pgfleet("disk", "show", "data", "--json").json["purge_date"] == "2999-12-01"


@pytest.mark.parametrize("command", ["show", *ASKED])
def test_a_disk_that_is_not_there_is_refused_with_the_next_step(
    pgfleet: Pgfleet, conn: Connection, command: str
) -> None:
    disk(conn, user="bob")
    arguments = ASKED.get(command, (("data",), {}))[0]

    end = pgfleet("disk", command, *arguments)
    other = pgfleet("disk", command, *arguments, "--user", "eve")

    assert (end.code, other.code) == (1, 1)
    assert "ada has no disk data.\n--user bob has one." in end.err
    assert bodies(conn) == []


def test_names_that_a_terminal_would_obey_are_made_harmless(pgfleet: Pgfleet, conn: Connection) -> None:
    data = disk(conn, HOSTILE, "attached", user="ada", detail=HOSTILE, status_reason=HOSTILE)
    snapshot(conn, data, "failed", failure_reason=HOSTILE)
    operation(conn, "failed", disk_name=HOSTILE, error=HOSTILE)
    conn.execute(
        "insert into public.disk_quarantine (resource_id, disk_id, reason) values (%s, %s, 'x')", ("snap-1", data)
    )
    reservation(conn, disk_name=HOSTILE)

    for command in (("disk",), ("disk", "show", HOSTILE), ("disk", "quarantine"), ("ls",)):
        end = pgfleet(*command)
        assert end.code == 0
        assert HARMLESS in end.out
        assert "\x1b" not in end.out
        assert "\u202e" not in end.out


# --- what is asked


def state_for(conn: Connection, command: str) -> None:
    """The disk as this can be asked of it, with a snapshot."""
    status = {"undelete": "deleted", "unlock": "attached"}.get(command, "available")
    data = disk(conn, status="available")
    snapshot(conn, data, snapshot_id=FIRST)
    if status != "available":
        change_disk(conn, data, status=status)


@pytest.mark.parametrize("command", ASKED)
def test_every_command_sends_its_message_and_prints_how_to_follow_it(
    pgfleet: Pgfleet, conn: Connection, command: str
) -> None:
    arguments, body = ASKED[command]
    state_for(conn, command)

    end = pgfleet("disk", command, *arguments)

    (sent,) = bodies(conn)
    assert end.code == 0, end.err
    assert sent == {**body, "operation_id": end.out.strip(), "user_id": "ada"}
    assert f"Follow it: pgfleet disk operation {end.out.strip()}" in end.err


def test_create_sends_the_size(pgfleet: Pgfleet, conn: Connection) -> None:
    end = pgfleet("disk", "create", "data", "--size", "200", "--user", "bob", "--json")

    (sent,) = bodies(conn)
    assert end.json == {"operation_id": sent["operation_id"], "result": "create of disk data sent"}
    assert (sent["action"], sent["user_id"], sent["size_gb"]) == ("create_disk", "bob", 200)


def test_with_wait_it_ends_as_the_operation_does(pgfleet: Pgfleet, conn: Connection) -> None:
    conn.execute(
        """
        create or replace function public.take() returns trigger language plpgsql security definer as $$
        begin
          insert into public.disk_operations (operation_id, action, user_id, disk_name)
            values ((new.message ->> 'operation_id')::uuid, 'create_disk', 'ada', 'data');
          update public.disk_operations set status = 'failed', error = 'no room at AWS';
          return null;
        end $$
        """
    )
    conn.execute(
        "create trigger take before insert on pgmq.q_disk_operations for each row execute function public.take()"
    )
    try:
        waited = pgfleet("disk", "create", "data", "--wait")
        sent = pgfleet("disk", "create", "data", "--no-wait")
    finally:
        conn.execute("drop trigger take on pgmq.q_disk_operations")

    assert (waited.code, sent.code) == (1, 0)
    assert "failed: no room at AWS" in waited.err


@pytest.mark.parametrize(
    ("status", "command", "said"),
    [
        (
            "available",
            ("create", "data"),
            "There is a disk data already: it is available. See it: pgfleet disk show data",
        ),
        (
            "deleted",
            ("create", "data"),
            "until 2999-12-24 `pgfleet disk undelete data` brings it back. Another one needs",
        ),
        ("deleted", ("snapshot", "data"), "until 2999-12-24 `pgfleet disk undelete data` brings it back"),
        ("deleted", ("delete", "data"), "until 2999-12-24 `pgfleet disk undelete data` brings it back"),
        ("deleted", ("clone", "data", "copy"), "until 2999-12-24"),
        ("purged", ("delete", "data"), "Too late: disk data is purged"),
        ("purged", ("undelete", "data"), "Too late: disk data is purged"),
        ("available", ("undelete", "data"), "Disk data is not deleted: it is available"),
        ("available", ("unlock", "data"), "Disk data is not in use: it is available"),
        ("available", ("clone", "data", "data"), "There is a disk data already"),
        ("attached", ("delete", "data"), "in use, and its reservation is gone: pgfleet disk unlock data"),
        ("available", ("restore", "data", "ff"), "no snapshot whose id begins with ff"),
        ("available", ("restore", "data", "9b1d"), f"Snapshot {SECOND} is failed; only a completed one is"),
        ("attached", ("restore", "data", "9b1d"), "in use, and its reservation is gone: pgfleet disk unlock data"),
        ("deleted", ("restore", "data", "9b1d"), "until 2999-12-24 `pgfleet disk undelete data` brings it back"),
    ],
)
def test_what_can_not_be_as_things_are_is_refused_with_the_next_step(
    pgfleet: Pgfleet, conn: Connection, status: str, command: tuple[str, ...], said: str
) -> None:
    data = disk(conn, status=status, delete_date="2999-12-24")
    snapshot(conn, data, "failed", snapshot_id=SECOND)

    end = pgfleet("disk", *command)

    assert end.code == 1
    assert said in end.err
    assert bodies(conn) == []


@pytest.mark.parametrize("command", ["delete", "unlock"])
def test_a_disk_of_a_live_reservation_is_refused_with_how_that_ends(
    pgfleet: Pgfleet, conn: Connection, command: str
) -> None:
    held = reservation(conn, "active")
    disk(conn, status="attached", reservation_id=held)

    end = pgfleet("disk", command, "data")

    assert end.code == 1
    assert f"in use by reservation {held[:8]}. First: pgfleet cancel {held[:8]}" in end.err


@pytest.mark.parametrize("command", [name for name in ASKED if name != "restore"])
def test_while_a_request_about_it_is_on_its_way_the_worker_decides(
    pgfleet: Pgfleet, conn: Connection, command: str
) -> None:
    first = {"action": "create_disk", "operation_id": FIRST, "user_id": "ada", "disk_name": "data", "size_gb": 100}
    send(conn, QUEUE, first)

    end = pgfleet("disk", command, *ASKED[command][0])

    assert end.code == 0, end.err
    assert len(bodies(conn)) == 2


@pytest.mark.parametrize(
    "arguments", [("create", "a disk"), ("create", "data", "--size", "5"), ("create",), ("restore", "data"), ("burn",)]
)
def test_wrong_usage_ends_with_2_and_sends_nothing(
    pgfleet: Pgfleet, conn: Connection, arguments: tuple[str, ...]
) -> None:
    end = pgfleet("disk", *arguments)

    assert end.code == 2
    assert bodies(conn) == []


@pytest.mark.parametrize("command", [command.name for command in app.registered_commands])
def test_every_command_has_help_with_an_example(pgfleet: Pgfleet, command: str) -> None:
    end = pgfleet("disk", command, "--help")

    assert end.code == 0
    assert f"Example: pgfleet disk {command}" in end.out


def test_there_is_a_command_for_every_request() -> None:
    commands = {command.name for command in app.registered_commands}

    assert {"create", *ASKED} <= commands
    assert {body["action"] for _, body in ASKED.values()} | {"create_disk"} == set(REQUESTS)


# --- quarantine


def test_quarantine_says_what_a_person_does_about_it(pgfleet: Pgfleet, conn: Connection) -> None:
    data = disk(conn)
    conn.execute(
        "insert into public.disk_quarantine (resource_id, disk_id, reason, gone_at) values"
        " ('snap-1', %s, 'no row accounts for it', null), ('vol-2', null, 'twice', null), ('snap-3', null, 'x', now())",
        (data,),
    )

    end = pgfleet("disk", "quarantine")
    everything = pgfleet("disk", "quarantine", "--all", "--json").json["resources"]

    assert "data of ada (available)" in words(end, "snap-1")
    assert "aws ec2 delete-snapshot --snapshot-id snap-1" in end.out
    assert "aws ec2 delete-volume --volume-id vol-2" in end.out
    assert "snap-3" not in end.out
    assert [row["resource_id"] for row in everything] == ["snap-1", "snap-3", "vol-2"]


def test_without_a_finding_quarantine_says_so(pgfleet: Pgfleet) -> None:
    assert "nothing is in quarantine" in pgfleet("disk", "quarantine").out


# --- reservations with a disk


def test_submit_reservation_takes_a_disk(pgfleet: Pgfleet, conn: Connection) -> None:
    end = pgfleet(
        "submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--disk", "data", "--disk-size", "200"
    )

    ((body,),) = conn.execute("select message from pgmq.q_gpu_reservations").fetchall()
    assert end.code == 0, end.err
    assert (body["disk_name"], body["disk_size_gb"]) == ("data", 200)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--disk-size", "200"), "--disk-size is for --disk NAME"),
        (("--disk", "a disk"), "--disk: must be"),
        (("--disk", "data", "--disk-size", "5"), "--disk-size: must be at least 10"),
    ],
)
def test_a_wrong_disk_option_is_named(pgfleet: Pgfleet, options: tuple[str, ...], said: str) -> None:
    end = pgfleet("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", *options)

    assert end.code == 2
    assert said in end.err


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (
            None,
            None,
            f"would start now: {FREE}; disk data of 100 GB will be made",
        ),
        ("available", None, f"would start now: {FREE}"),
        ("attached", "DISK_IN_USE", "would wait: DISK_IN_USE: disk data is in use by a reservation"),
        ("creating", "SNAPSHOT_PENDING", "would wait: SNAPSHOT_PENDING: disk data is being made; ETA unknown"),
        (
            "deleted",
            "REJECTED",
            "would be rejected: disk data is deleted; until 2999-12-24 `pgfleet disk undelete data`",
        ),
    ],
)
def test_a_dry_run_knows_of_the_disk(
    pgfleet: Pgfleet, conn: Connection, status: str | None, code: str | None, said: str
) -> None:
    if status is not None:
        disk(conn, status=status, delete_date="2999-12-24")
    asked = ("submit", "reservation", "--github-user", "ada", "--gpu-type", "h100", "--disk", "data", "--dry-run")

    end = pgfleet(*asked)

    assert said in end.out
    assert end.code == (0 if code is None else 1)
    assert pgfleet(*asked, "--json").json["reason_code"] == code


def test_reservations_are_listed_with_their_disk_and_why_it_keeps_them(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = reservation(conn, current_detailed_status="Waiting for its turn")
    disk(conn, status="attached")

    end, told = pgfleet("ls"), pgfleet("ls", "--json").json[0]

    assert "DISK" in end.out.splitlines()[0].split()
    assert "DISK_IN_USE: disk data, 100 GB, attached (position 1, ETA unknown)" in words(end, row_id[:8])
    assert (told["disk_name"], told["reason_code"], told["eta"]) == ("data", "DISK_IN_USE", None)


def test_without_a_disk_there_is_no_column_for_it(pgfleet: Pgfleet, conn: Connection) -> None:
    reservation(conn, disk_name=None)

    assert "DISK" not in pgfleet("ls").out


def test_watch_shows_the_disk_and_what_happened_to_it(pgfleet: Pgfleet, conn: Connection) -> None:
    row_id = reservation(conn, "active")
    data = disk(conn, status="attached", reservation_id=row_id)
    taken = snapshot(conn, data, "creating", reservation_id=row_id)

    end = pgfleet("watch", row_id, "--once")
    told = pgfleet("watch", row_id, "--once", "--json").json

    assert "data, 100 GB, attached" in end.out
    assert "disk data attached" in end.out
    assert f"snapshot {taken[:8]} creating" in end.out
    assert [move["to_status"] for move in told["disk_history"]][-2:] == ["pending", "creating"]
