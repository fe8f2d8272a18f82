"""All that the steps of reservation messages look at, loaded in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from schema.kernel import Connection, Cursor
from schema.messages import Message
from schema.reservation import WAITING, Admit, CreateReservation, Request, Sweep, SweepPods, Ticket
from schema.row_kernel import ROW_VERSION, text_of
from schema.rows import Row, ask_rows, rows_of
from schema.settings import Settings
from schema.tables import gpu_types, reservations

# How many rows one look at a line may move; more are seen by the next look.
LINE_LIMIT = 32
REPAIR_LIMIT = 500


@dataclass(frozen=True, slots=True)
class View:
    """The rows as they are at `now`.

    Attributes:
        lines: for each GPU type asked about, its waiting rows, oldest first, as many as one look may move.
        forgotten: (id, ticket) of rows that should have a live ticket and have none.
        unended: ids of the rows that may still own something outside, where a sweep asked.
    """

    now: datetime
    rows: dict[str, Row]
    gpu_types: dict[str, Row]
    lines: dict[str, list[Row]] = field(default_factory=dict)
    forgotten: tuple[tuple[str, int], ...] = ()
    unended: frozenset[str] = frozenset()


NOW = text_of(sa.select(sa.func.public.fleet_now()))

_line = reservations.alias("line")
LINE = text_of(
    sa.select(sa.literal_column("line.xmin::text").label(ROW_VERSION), *_line.columns)
    .where(
        _line.c.gpu_type == sa.bindparam("gpu_type"),
        _line.c.status.in_([sa.literal_column(f"'{status}'") for status in sorted(WAITING)]),
        _line.c.gpu_count.is_not(None),
        sa.or_(_line.c.retry_at.is_(None), _line.c.retry_at <= sa.func.public.fleet_now()),
    )
    .order_by(_line.c.waiting_since, _line.c.line_number, _line.c.reservation_id)
    .limit(sa.bindparam("most"))
)

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
        asked = {name: conn.execute(LINE, {"gpu_type": name, "most": LINE_LIMIT + 1}) for name in lines}
        forgotten = conn.execute(FORGOTTEN, {"most": REPAIR_LIMIT}) if rows_swept else None
        unended = conn.execute(UNENDED) if pods_swept else None
    return View(
        now=_one(now),
        rows=rows_of(reservations, rows),
        gpu_types=rows_of(gpu_types, types),
        lines={name: list(rows_of(reservations, cursor).values()) for name, cursor in asked.items()},
        forgotten=tuple((row[0], row[1]) for row in forgotten) if forgotten else (),
        unended=frozenset(row[0] for row in unended) if unended else frozenset(),
    )


TYPES = text_of(sa.select(sa.literal_column("public.gpu_types.xmin::text"), *gpu_types.columns))


def _one(cursor: Cursor) -> datetime:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  # a select without FROM has a row
    now: datetime = row[0]
    return now
