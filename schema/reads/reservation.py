"""Reading reservations for people: one by its id or a prefix of it, lists, timelines, and the lines they wait in."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.about import Subject, now
from pgfleet.schema.reads.hold import HOLD, RESERVATIONS_WITH_DISK, wanted_disk
from pgfleet.schema.reads.place import Line, Release, Waiter
from pgfleet.schema.reads.resolve import CANDIDATES, Several, first, only
from pgfleet.schema.reservation import ALIASES, FINAL, MACHINE, QUEUE, WAITING, Status
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.gpu_types import gpu_types
from pgfleet.schema.tables.reservations import reservations
from pgfleet.schema.tables.runtime import status_history

RESERVATION = Subject(QUEUE, "reservation_id")
# The lines (174).
_waiting_reservations = sa.table(
    "waiting_reservations",
    *(sa.column(name) for name in ("gpu_type", "reservation_id", "gpu_count", "waiting_since", "line_number")),
    *(sa.column(name, sa.Boolean) for name in ("is_paused", "is_kept", "is_lost")),
    schema="public",
)
_c = reservations.c
_COLUMNS = (
    *(_c.reservation_id, _c.user_id, _c.name, _c.status, _c.status_reason, _c.status_since),
    *(_c.gpu_type, _c.gpu_count, _c.gpus_held, _c.duration_hours, _c.created_at, _c.waiting_since, _c.line_number),
    *(_c.launched_at, _c.expires_at, _c.reservation_ended, _c.retry_at, _c.current_detailed_status),
    *(_c.failure_reason, _c.warning, _c.pod_name, _c.ssh_command, _c.disk_name),
    wanted_disk.c.size_gb.label("disk_size_gb"),
    wanted_disk.c.status.label("disk_status"),
    sa.case((_c.status.in_([status.value for status in sorted(WAITING)]), HOLD)).label("disk_reason_code"),
)


class AmbiguousId(FleetError):
    """A prefix that several reservations share; the message lists them."""


@dataclass(frozen=True)
class Filters:
    """Which reservations to list; None is no condition. `status` may be the seed's `running`."""

    user_id: str | None = None
    status: str | None = None
    gpu_type: str | None = None
    ended_too: bool = False
    most: int = 200


def read_status(text: str) -> Status:
    """A state by its name, or by the seed's.

    Raises:
        FleetError: there is no such state; the message lists them.
    """
    if text in ALIASES:
        return ALIASES[text]
    if text not in {status.value for status in Status}:
        known = ", ".join([*Status, *ALIASES])
        raise FleetError(f"{text} is no status of a reservation. Known are {known}.")
    return Status(text)


def by_id(conn: Connection, reservation_id: str) -> Row | None:
    return first(conn, _rows().where(_c.reservation_id == reservation_id))


def _rows() -> sa.Select[Any]:
    """Each with the disk that it wants."""
    return sa.select(*_COLUMNS).select_from(RESERVATIONS_WITH_DISK)


def resolve(conn: Connection, given: str, user_id: str) -> Row:
    """The reservation of a whole id, whoever owns it, or of a prefix that is unique among the user's.

    Raises:
        AmbiguousId, Refusal: several have this prefix, or none; the message lists what there is.
    """
    given = given.strip().lower()
    exact = by_id(conn, given)
    if exact is not None:
        return exact
    several = Several(f"{given} is the beginning of several ids of {user_id}", _candidate, error=AmbiguousId)
    owned = only(fetch(conn, _with_prefix(given).where(_c.user_id == user_id)), several)
    if owned is None:
        raise Refusal(_not_found(given, user_id, fetch(conn, _with_prefix(given))))
    return owned


def _with_prefix(prefix: str) -> sa.Select[Any]:
    begins = _c.reservation_id.startswith(prefix, autoescape=True)
    return _rows().where(begins).order_by(_c.created_at.desc()).limit(CANDIDATES + 1)


def _candidate(row: Row) -> str:
    gpus = f"{row['gpu_count']} x {row['gpu_type']}" if row["gpu_type"] else "never created"
    return f"{row['reservation_id']}  {row['status']:<9}  {gpus}  {row['name'] or ''}"


def _not_found(given: str, user_id: str, others: list[Row]) -> str:
    text = f"{user_id} has no reservation whose id begins with {given}."
    owners = sorted({row["user_id"] for row in others})
    return f"{text}\n--user {owners[0]} has one." if owners and given else f"{text} See `pgfleet ls --all`."


def listing(conn: Connection, filters: Filters) -> list[Row]:
    """Reservations, newest first; those that are over only if asked for."""
    statement = _rows().order_by(_c.created_at.desc(), _c.reservation_id).limit(filters.most)
    if filters.user_id is not None:
        statement = statement.where(_c.user_id == filters.user_id)
    if filters.gpu_type is not None:
        statement = statement.where(_c.gpu_type == filters.gpu_type)
    if filters.status is not None:
        statement = statement.where(_c.status == read_status(filters.status).value)
    elif not filters.ended_too:
        statement = statement.where(_c.status.not_in([status.value for status in FINAL]))
    return fetch(conn, statement)


def moves_since(conn: Connection, history_id: int) -> list[Row]:
    """The moves of all reservations after one, oldest first."""
    h = status_history.c
    columns = (h.history_id, h.row_id, h.at, h.from_status, h.to_status, h.reason)
    later = (h.machine == MACHINE, h.history_id > history_id)
    return fetch(conn, sa.select(*columns).where(*later).order_by(h.history_id))


def types(conn: Connection) -> dict[str, Row]:
    """Every GPU type by its name."""
    g = gpu_types.c
    columns = (g.gpu_type, g.total_cluster_gpus, g.held_gpus, g.is_active, g.max_gpus, g.max_per_node)
    return {row["gpu_type"]: row for row in fetch(conn, sa.select(*columns).order_by(g.gpu_type))}


def line_now(conn: Connection, gpu_type: str | None) -> tuple[datetime, Line | None]:
    """The database's time, and the line of a type if there is such a type."""
    return now(conn), lines(conn, [gpu_type]).get(gpu_type) if gpu_type else None


def lines(conn: Connection, names: Iterable[str]) -> dict[str, Line]:
    """The lines of some GPU types as they are now: who waits, oldest first, and who will give GPUs back when.

    Whoever is paused, or kept by a disk, lets others pass.
    """
    wanted = sorted(set(names))
    known = {name: row for name, row in types(conn).items() if name in wanted}
    moment = now(conn)
    waiting, releases = defaultdict(list), defaultdict(list)
    for row in fetch(conn, _waiting(wanted)):
        waiter = Waiter(row["reservation_id"], row["gpu_count"], row["waiting_since"], row["line_number"])
        waiting[row["gpu_type"]].append(waiter)
    for row in fetch(conn, _holding(wanted)):
        releases[row["gpu_type"]].append(Release(row["expires_at"], row["gpus_held"]))
    return {
        name: Line(
            gpu_type=name,
            total=row["total_cluster_gpus"] or 0,
            held=row["held_gpus"],
            is_active=bool(row["is_active"]),
            now=moment,
            waiting=tuple(waiting[name]),
            releases=tuple(releases[name]),
        )
        for name, row in known.items()
    }


def _waiting(names: list[str]) -> sa.Select[Any]:
    w = _waiting_reservations.c
    return (
        sa.select(w.gpu_type, w.reservation_id, w.gpu_count, w.waiting_since, w.line_number)
        .where(w.gpu_type.in_(names), sa.not_(w.is_paused), sa.not_(w.is_kept), sa.not_(w.is_lost))
        .order_by(w.waiting_since, w.line_number, w.reservation_id)
    )


def _holding(names: list[str]) -> sa.Select[Any]:
    active = (_c.status == Status.ACTIVE.value, _c.gpus_held > 0, _c.expires_at.is_not(None))
    return (
        sa.select(_c.gpu_type, _c.expires_at, _c.gpus_held)
        .where(_c.gpu_type.in_(names), *active)
        .order_by(_c.expires_at)
    )
