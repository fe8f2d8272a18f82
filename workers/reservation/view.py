"""All that the steps of reservation messages look at, loaded in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from pgfleet.schema.messages import Message
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.reservation import WAITING, Admit, CreateReservation, Request, Sweep, SweepPods, Ticket
from pgfleet.schema.rows.kernel import constant, text_of, versioned
from pgfleet.schema.rows.row import Row, ask_rows, rows_in, rows_of
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.disks import disk_snapshots, disks
from pgfleet.schema.tables.gpu_types import gpu_types
from pgfleet.schema.tables.reservations import reservations

# How many rows one look at a line may move; more are seen by the next look.
LINE_LIMIT = 32
REPAIR_LIMIT = 500


@dataclass(frozen=True, slots=True)
class View:
    """The rows as they are at `now`.

    Attributes:
        lines: for each GPU type asked about, its waiting rows, oldest first, as many as one look may move.
        blocked: the same of those that wait for their disk: they are in nobody's way.
        disks: by (user, name); each with its newest completed snapshot, and how far a pending one is.
        held: disks by the reservation that they are attached to.
        forgotten: (id, ticket) of rows that should have a live ticket and have none.
        unended: ids of the rows that may still own something outside, where a sweep asked.
    """

    now: datetime
    rows: dict[str, Row]
    gpu_types: dict[str, Row]
    lines: dict[str, list[Row]] = field(default_factory=dict)
    blocked: dict[str, list[Row]] = field(default_factory=dict)
    disks: dict[tuple[str, str], Row] = field(default_factory=dict)
    held: dict[str, Row] = field(default_factory=dict)
    forgotten: tuple[tuple[str, int], ...] = ()
    unended: frozenset[str] = frozenset()


NOW = text_of(sa.select(sa.func.public.fleet_now()))

_line, _d, _s = reservations.alias("line"), disks.alias("d"), disk_snapshots.alias("s")


# Its disk is another's, or not to be had yet. One that nobody can ever have blocks nobody: its row fails.
_blocked = (
    sa.select(sa.literal_column("1"))
    .where(
        _d.c.user_id == _line.c.user_id,
        _d.c.disk_name == _line.c.disk_name,
        sa.func.coalesce(_line.c.node_index, sa.literal_column("0")) == sa.literal_column("0"),
        sa.or_(
            _d.c.status.in_([constant("creating"), constant("attached")]),
            sa.and_(_d.c.status == constant("available"), _d.c.pending_snapshot_count > sa.literal_column("0")),
        ),
    )
    .exists()
)
_waiting = (
    _line.c.gpu_type == sa.bindparam("gpu_type"),
    _line.c.status.in_([constant(status) for status in sorted(WAITING)]),
    _line.c.gpu_count.is_not(None),
)
_oldest = (_line.c.waiting_since, _line.c.line_number, _line.c.reservation_id)
_rows_of_line = versioned(_line)
_ready = sa.or_(_line.c.retry_at.is_(None), _line.c.retry_at <= sa.func.public.fleet_now())
LINE = text_of(_rows_of_line.where(*_waiting, _ready, ~_blocked).order_by(*_oldest).limit(sa.bindparam("most")))
BLOCKED = text_of(
    _rows_of_line.where(*_waiting, _line.c.disk_name.is_not(None), _blocked)
    .order_by(*_oldest)
    .limit(sa.bindparam("most"))
)

# Disks: by name, of rows, of the front of a line, and those that rows hold.
_newest = (
    sa.select(_s.c.snapshot_id)
    .where(_s.c.disk_id == _d.c.disk_id, _s.c.status == constant("completed"))
    .order_by(_s.c.completed_at.desc().nulls_last(), _s.c.snapshot_id.desc())
    .limit(sa.literal_column("1"))
    .scalar_subquery()
)
_progress = (
    sa.select(sa.func.min(sa.func.coalesce(_s.c.progress_percent, sa.literal_column("0"))))
    .where(_s.c.disk_id == _d.c.disk_id, _s.c.status.in_([constant("pending"), constant("creating")]))
    .scalar_subquery()
)
DISK_COLUMNS = [*(column.name for column in _d.c), "newest_snapshot_id", "progress"]
_disks = versioned(_d, *_d.c, _newest, _progress)
_place = sa.tuple_(_d.c.user_id, _d.c.disk_name)
_keys = sa.any_(sa.bindparam("keys", type_=sa.ARRAY(sa.Text)))
_named_ones = sa.select(
    sa.func.unnest(sa.bindparam("users", type_=sa.ARRAY(sa.Text))),
    sa.func.unnest(sa.bindparam("names", type_=sa.ARRAY(sa.Text))),
)
_of_rows = sa.select(_line.c.user_id, _line.c.disk_name).where(
    _line.c.reservation_id == _keys, _line.c.disk_name.is_not(None)
)
# One index scan each; together, in one condition, they would read all disks.
_ids = sa.union_all(
    *(
        sa.select(_d.c.disk_id).where(condition)
        for condition in (_place.in_(_named_ones), _place.in_(_of_rows), _d.c.reservation_id == _keys)
    )
)
DISKS = text_of(_disks.where(_d.c.disk_id.in_(_ids)))
_front = sa.select(_line.c.user_id, _line.c.disk_name).where(*_waiting, _line.c.disk_name.is_not(None))
_fronts = (_front.where(_ready, ~_blocked), _front.where(_blocked))
_ids_of_line = sa.union_all(
    *(
        sa.select(_d.c.disk_id).where(_place.in_(front.order_by(*_oldest).limit(sa.bindparam("most"))))
        for front in _fronts
    )
)
DISKS_OF_LINE = text_of(_disks.where(_d.c.disk_id.in_(_ids_of_line)))

_queue = sa.table("q_gpu_reservations", sa.column("message", JSONB), schema="pgmq").alias("q")


def _field(name: str) -> sa.ColumnElement[Any]:
    return _queue.c.message.op("->>")(sa.literal_column(f"'{name}'"))


_ticket = (
    sa.select(sa.literal_column("1"))
    .where(
        _field("action") == sa.literal_column("'advance'"),
        _field("reservation_id") == reservations.c.reservation_id,
        _field("ticket") == sa.cast(reservations.c.ticket, sa.Text),
    )
    .exists()
)
FORGOTTEN = text_of(
    sa.select(reservations.c.reservation_id, reservations.c.ticket)
    .where(
        reservations.c.reservation_ended.is_(None),
        reservations.c.status_since < sa.func.public.fleet_now() - sa.literal_column("interval '10 seconds'"),
        ~_ticket,
    )
    .limit(sa.bindparam("most"))
)
UNENDED = text_of(sa.select(reservations.c.reservation_id).where(reservations.c.reservation_ended.is_(None)))


def load(conn: Connection, messages: Sequence[Message], settings: Settings) -> View:  # noqa: ARG001  # a load
    """The view of some messages: their rows, every GPU type, and what the lines and sweeps among them need."""
    keys = {message.reservation_id for message in messages if isinstance(message, (Request, CreateReservation, Ticket))}
    lines = {message.gpu_type for message in messages if isinstance(message, Admit)}
    rows_swept = any(isinstance(message, Sweep) for message in messages)
    pods_swept = any(isinstance(message, SweepPods) for message in messages)
    with conn.pipeline():
        now = conn.execute(NOW)
        rows = ask_rows(conn, reservations, sorted(keys))
        types = conn.execute(TYPES)
        places: list[dict[str, Any]] = [{"gpu_type": name, "most": LINE_LIMIT + 1} for name in lines]
        asked = {place["gpu_type"]: conn.execute(LINE, place) for place in places}
        blocked = {place["gpu_type"]: conn.execute(BLOCKED, place) for place in places}
        found = [conn.execute(DISKS_OF_LINE, place) for place in places]
        if keys:
            found.append(conn.execute(DISKS, _named(messages, keys)))
        forgotten = conn.execute(FORGOTTEN, {"most": REPAIR_LIMIT}) if rows_swept else None
        unended = conn.execute(UNENDED) if pods_swept else None
    known = [row for cursor in found for row in rows_in(disks, cursor, DISK_COLUMNS)]
    return View(
        now=_one(now),
        rows=rows_of(reservations, rows),
        gpu_types=rows_of(gpu_types, types),
        lines={name: list(rows_in(reservations, cursor)) for name, cursor in asked.items()},
        blocked={name: list(rows_in(reservations, cursor)) for name, cursor in blocked.items()},
        disks={(row.user_id, row.disk_name): row for row in known},
        held={row.reservation_id: row for row in known if row.reservation_id is not None},
        forgotten=tuple((row[0], row[1]) for row in forgotten) if forgotten else (),
        unended=frozenset(row[0] for row in unended) if unended else frozenset(),
    )


def _named(messages: Sequence[Message], keys: set[str]) -> dict[str, list[str]]:
    """The disks that new reservations ask for by name, and the rows whose disks are asked for, too."""
    creates = [message for message in messages if isinstance(message, CreateReservation)]
    pairs = [(message.user_id, message.disk_name) for message in creates if message.disk_name is not None]
    return {"users": [user for user, _ in pairs], "names": [name for _, name in pairs], "keys": sorted(keys)}


TYPES = text_of(versioned(gpu_types))


def _one(cursor: Cursor) -> datetime:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  # a select without FROM has a row
    now: datetime = row[0]
    return now
