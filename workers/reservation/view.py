"""All that the steps of reservation messages look at, loaded in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pgfleet.schema.messages import Message
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.reservation import Admit, CreateReservation, Request, SweepPods, Ticket
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row, ask_rows, rows_in, rows_of
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.disks import disks
from pgfleet.schema.tables.gpu_types import gpu_types
from pgfleet.schema.tables.reservations import reservations

SQL = named(__package__)
# How many rows one look at a line may move; more are seen by the next look.
LINE_LIMIT = 32


@dataclass(frozen=True, slots=True)
class View:
    """The rows as they are at `now`.

    Attributes:
        lines: for each GPU type asked about, its waiting rows, oldest first, as many as one look may move.
        blocked: the same of those that wait for their disk: they are in nobody's way.
        disks: by (user, name); each with its newest completed snapshot, how far a pending one is, and whom it keeps.
        held: disks by the reservation that they are attached to.
        unended: ids of the rows that may still own something outside, where a sweep asked.
    """

    now: datetime
    rows: dict[str, Row]
    gpu_types: dict[str, Row]
    lines: dict[str, list[Row]] = field(default_factory=dict)
    blocked: dict[str, list[Row]] = field(default_factory=dict)
    disks: dict[tuple[str, str], Row] = field(default_factory=dict)
    held: dict[str, Row] = field(default_factory=dict)
    unended: frozenset[str] = frozenset()


def load(conn: Connection, messages: Sequence[Message], settings: Settings) -> View:  # noqa: ARG001  # a load
    """The view of some messages: their rows, every GPU type, and what the lines and sweeps among them need."""
    keys = {message.reservation_id for message in messages if isinstance(message, (Request, CreateReservation, Ticket))}
    lines = {message.gpu_type for message in messages if isinstance(message, Admit)}
    pods_swept = any(isinstance(message, SweepPods) for message in messages)
    with conn.pipeline():
        now = conn.execute(SQL["now"])
        rows = ask_rows(conn, reservations, sorted(keys))
        types = conn.execute(SQL["types"])
        places: list[dict[str, Any]] = [{"gpu_type": name, "most": LINE_LIMIT + 1} for name in lines]
        asked = {place["gpu_type"]: conn.execute(SQL["line"], place) for place in places}
        blocked = {place["gpu_type"]: conn.execute(SQL["kept"], place) for place in places}
        found = [conn.execute(SQL["disks_of_line"], place) for place in places]
        if keys:
            found.append(conn.execute(SQL["disks"], _named(messages, keys)))
        unended = conn.execute(SQL["unended"]) if pods_swept else None
    known = [row for cursor in found for row in rows_in(disks, cursor)]
    return View(
        now=_one(now),
        rows=rows_of(reservations, rows),
        gpu_types={row.key: row for row in rows_in(gpu_types, types)},
        lines={name: list(rows_in(reservations, cursor)) for name, cursor in asked.items()},
        blocked={name: list(rows_in(reservations, cursor)) for name, cursor in blocked.items()},
        disks={(row.user_id, row.disk_name): row for row in known},
        held={row.reservation_id: row for row in known if row.reservation_id is not None},
        unended=frozenset(row[0] for row in unended) if unended else frozenset(),
    )


def _named(messages: Sequence[Message], keys: set[str]) -> dict[str, list[str]]:
    """The disks that new reservations ask for by name, and the rows whose disks are asked for, too."""
    creates = [message for message in messages if isinstance(message, CreateReservation)]
    pairs = [(message.user_id, message.disk_name) for message in creates if message.disk_name is not None]
    return {"users": [user for user, _ in pairs], "names": [name for _, name in pairs], "keys": sorted(keys)}


def _one(cursor: Cursor) -> datetime:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  # a select without FROM has a row
    now: datetime = row[0]
    return now
