"""Whom a disk keeps waiting, in each of its states: the line, the steps, the reads and the dry run say the same."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pgfleet.schema.reads import disk as disk_reads
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.about import now
from pgfleet.schema.reads.hold import Asked, with_disk
from pgfleet.schema.reads.trial import DryRun
from pgfleet.schema.reservation import read
from pgfleet.schema.settings import Settings
from pgfleet.workers.reservation.disk import attachment, disk_hold, no_disk
from pgfleet.workers.reservation.view import View, load
from pgfleet.workers.runtime.outcomes import Advance
from worlds.database import Connection
from worlds.rows_of_disks import clean, disk, reservation, snapshot

IN_USE, PENDING = "DISK_IN_USE", "SNAPSHOT_PENDING"
RELEASED = {"release_asked_at": "2026-11-20"}
STARTS = DryRun(starts_now=True, code=None, reason="16 of 16 GPUs are free and nobody waits")

# Status, other columns, whether a snapshot is not completed; for another's reservation, and for the one that has it.
STATES: dict[str, tuple[str, dict[str, Any], bool, str | None, str | None]] = {
    "creating": ("creating", {}, False, PENDING, PENDING),
    "creating, with a snapshot pending": ("creating", {}, True, PENDING, PENDING),
    "available": ("available", {}, False, None, None),
    "available, with a snapshot pending": ("available", {}, True, PENDING, PENDING),
    "attached": ("attached", {}, False, IN_USE, None),
    "attached, with a snapshot pending": ("attached", {}, True, IN_USE, None),
    "being released": ("attached", RELEASED, False, IN_USE, IN_USE),
    "being released, with a snapshot pending": ("attached", RELEASED, True, PENDING, PENDING),
    "deleted": ("deleted", {}, False, None, None),
    "deleted, with a snapshot pending": ("deleted", {}, True, None, None),
    "purged": ("purged", {}, False, None, None),
    "purged, with a snapshot pending": ("purged", {}, True, None, None),
    "failed": ("failed", {}, False, None, None),
    "failed, with a snapshot pending": ("failed", {}, True, None, None),
}
LOST = ("deleted", "purged", "failed")


@pytest.fixture
def conn(fleet_dsn: str) -> Iterator[Connection]:
    """One database for all, emptied for each."""
    with psycopg.connect(fleet_dsn, autocommit=True) as conn:
        clean(conn)
        yield conn


def made(conn: Connection, state: str, holder: str | None) -> str:
    status, columns, is_pending, _, _ = STATES[state]
    held = {**columns, "reservation_id": holder} if status == "attached" else columns
    disk_id = disk(conn, status=status, **held)
    if is_pending:
        snapshot(conn, disk_id, "creating")
    return disk_id


def seen(conn: Connection, *row_ids: str) -> View:
    """What the reservation worker looks at: the line, and the turns of these rows."""
    tickets = [{"action": "advance", "reservation_id": row_id, "ticket": 1} for row_id in row_ids]
    messages = [read(body) for body in ({"action": "admit", "gpu_type": "h100"}, *tickets)]
    return load(conn, messages, Settings.model_construct())


@pytest.mark.parametrize("whose", ["another's", "its own", "nobody's"])
@pytest.mark.parametrize("state", STATES)
def test_the_worker_and_people_are_told_the_same_of_a_disk_in_each_state(
    conn: Connection, state: str, whose: str
) -> None:
    status, _, _, of_another, own = STATES[state]
    row_id = reservation(conn)
    made(conn, state, {"another's": reservation(conn, "active"), "its own": row_id, "nobody's": None}[whose])
    code = own if whose == "its own" else of_another

    view = seen(conn, row_id)

    row = view.rows[row_id]
    line, kept = ([found.reservation_id for found in place["h100"]] for place in (view.lines, view.blocked))
    assert ([row_id] if code else []) == kept
    assert ([] if code else [row_id]) == line
    assert (disk_hold(row, view) or "").partition(":")[0] == (code or "")
    assert (no_disk(view.disks["ada", "data"]) is not None) == (status in LOST)
    told = reads.by_id(conn, row_id)
    assert told is not None
    assert told["disk_reason_code"] == code
    waiting = [unit.key for unit in reads.lines(conn, ["h100"], timedelta())["h100"].standing.line]
    assert waiting == ([] if code or status in LOST else [row_id])


@pytest.mark.parametrize("whose", ["another's", "nobody's"])
@pytest.mark.parametrize("state", STATES)
def test_a_dry_run_says_what_the_line_would(conn: Connection, state: str, whose: str) -> None:
    status, _, _, code, _ = STATES[state]
    made(conn, state, reservation(conn, "active") if whose == "another's" else None)
    found = disk_reads.by_name(conn, "ada", "data")
    assert found is not None

    answer = with_disk(STARTS, Asked(found, None, timedelta(days=30), now(conn)))

    assert answer.code == ("REJECTED" if status in LOST else code)
    assert answer.starts_now == (answer.code is None)


def test_only_the_first_node_of_a_gang_is_kept(conn: Connection) -> None:
    # Rows of an older version: today the database refuses a disk on any node but the first.
    conn.execute("alter table public.reservations disable trigger keep_to_first_node_new")
    first, second = (reservation(conn, node_index=number) for number in range(2))
    made(conn, "attached", reservation(conn, "active"))

    view = seen(conn, first, second)

    assert [row.reservation_id for row in view.lines["h100"]] == [second]
    assert disk_hold(view.rows[first], view) is not None
    assert disk_hold(view.rows[second], view) is None


def test_whoever_has_the_disk_already_is_admitted_with_it_as_it_is(conn: Connection) -> None:
    row_id = reservation(conn)
    made(conn, "attached", row_id)

    view = seen(conn, row_id)

    assert attachment(view.rows[row_id], view) == Advance()
