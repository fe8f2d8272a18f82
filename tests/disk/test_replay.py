"""Dead letters of disks: a failed operation goes on when it is replayed; a failed snapshot never comes back."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgfleet.schema.disk import REQUESTS
from pgfleet.schema.errors import Refusal
from pgfleet.schema.replay import letters
from worlds.database import Connection
from worlds.fleet import new_id
from worlds.rows_of_disks import bodies, bury, clean, disk, operation, snapshot

ID = "5f0c2b1e-90d3-4a54-9c44-1d2f6d3f5a10"
PROCEED = {"action": "proceed", "operation_id": ID}


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        clean(conn)
        yield conn


def failed(conn: Connection) -> int:
    """An operation that could not go on; the number of its letter."""
    operation(conn, "failed", operation_id=ID, error="AWS refused it", finished_at="2026-11-20")
    return bury(conn, PROCEED)


def test_a_replayed_operation_is_pending_again_and_has_its_message(conn: Connection) -> None:
    number = failed(conn)

    done = letters.replay(conn, number, "grace")

    assert done == f"operation {ID} is pending again"
    assert conn.execute("select status, error, finished_at from public.disk_operations").fetchall() == [
        ("pending", None, None)
    ]
    assert bodies(conn) == [PROCEED]


def test_its_disk_tells_it_too(conn: Connection) -> None:
    disk_id = disk(conn)
    operation(conn, "failed", operation_id=ID, error="AWS refused it", disk_id=disk_id)

    letters.replay(conn, bury(conn, PROCEED), "grace")

    told = conn.execute("select operation_status, operation_error from public.disks").fetchall()
    assert told == [("pending", None)]


def test_the_history_says_who_replayed_it(conn: Connection) -> None:
    number = failed(conn)

    letters.replay(conn, number, "grace")

    told = conn.execute(
        "select from_status, to_status, reason, actor from public.status_history order by history_id desc limit 1"
    ).fetchone()
    assert told == ("failed", "pending", f"replayed from dead letter {number}", "console:grace")


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed"])
def test_an_operation_that_did_not_fail_is_left_as_it_is(conn: Connection, status: str) -> None:
    operation(conn, status, operation_id=ID)

    done = letters.replay(conn, bury(conn, PROCEED), "grace")

    assert done == "sent again to disk_operations"
    assert conn.execute("select status from public.disk_operations").fetchall() == [(status,)]
    assert bodies(conn) == [PROCEED]


@pytest.mark.parametrize(
    "body",
    [
        *({"action": action, "operation_id": ID, "user_id": "ada"} for action in REQUESTS),
        {"action": "proceed"},
        {"action": "proceed", "operation_id": "no id\x01"},
        {"action": "advance_disk", "disk_id": ID, "ticket": 1},
        {"action": "advance_snapshot", "snapshot_id": None},
        {"action": "sweep"},
        ["nonsense"],
        None,
    ],
)
def test_any_other_message_is_sent_again_as_it_was(conn: Connection, body: Any) -> None:
    failed(conn)

    letters.replay(conn, bury(conn, body), "grace")

    assert bodies(conn) == [body]
    assert conn.execute("select status from public.disk_operations").fetchall() == [("failed",)]


def test_a_failed_snapshot_is_refused_with_how_to_get_another(conn: Connection) -> None:
    snapshot_id = snapshot(conn, disk(conn), "failed")
    number = bury(conn, {"action": "advance_snapshot", "snapshot_id": snapshot_id, "ticket": 3})

    with pytest.raises(Refusal, match="Ask for a new snapshot: pgfleet disk snapshot data --user ada"):
        letters.replay(conn, number, "grace")

    assert letters.one(conn, number)["answered_at"] is None
    assert bodies(conn) == []


@pytest.mark.parametrize("status", ["pending", "creating", "completed"])
def test_a_snapshot_that_did_not_fail_gets_its_ticket_again(conn: Connection, status: str) -> None:
    turn = {"action": "advance_snapshot", "snapshot_id": snapshot(conn, disk(conn), status), "ticket": 1}

    letters.replay(conn, bury(conn, turn), "grace")

    assert bodies(conn) == [turn]


def test_a_ticket_of_a_snapshot_that_is_unknown_is_sent_again(conn: Connection) -> None:
    turn = {"action": "advance_snapshot", "snapshot_id": new_id(), "ticket": 1}

    assert letters.replay(conn, bury(conn, turn), "grace") == "sent again to disk_operations"
