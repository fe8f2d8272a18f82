"""Reading disks for people: one by its name, lists, snapshots, history, and what AWS has that no row accounts for.

No statement here selects what a person has in a disk: only where its listing is.
"""

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.disk import UNFINISHED, Status
from pgfleet.schema.errors import Refusal
from pgfleet.schema.nearest import nearest
from pgfleet.schema.printable import printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.about import history
from pgfleet.schema.reads.hold import WAITS_FOR
from pgfleet.schema.reads.resolve import Several, first, only
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.disks import disk_operations, disk_quarantine, disk_snapshots, disks
from pgfleet.schema.tables.reservations import reservations

ID_LENGTH = 36
RECENT = 10
DISK, SNAPSHOT = "disk", "disk_snapshot"
_d, _s, _o, _q, _r = disks.c, disk_snapshots.c, disk_operations.c, disk_quarantine.c, reservations.c
_unfinished = [status.value for status in sorted(UNFINISHED)]


def as_text(column: sa.ColumnElement[Any], name: str) -> sa.Label[str]:
    """An id as people read it."""
    return sa.cast(column, sa.Text).label(name)


# How far the least advanced of a disk's unfinished snapshots is.
_pending_percent = (
    sa.select(sa.func.min(sa.func.coalesce(_s.progress_percent, 0)))
    .where(_s.disk_id == _d.disk_id, _s.status.in_(_unfinished))
    .scalar_subquery()
)
_COLUMNS = (
    *(as_text(_d.disk_id, "disk_id"), _d.disk_name, _d.user_id, _d.status, _d.status_reason, _d.status_since),
    *(_d.size_gb, _d.disk_size, _d.created_at, _d.last_used, _d.detail, _d.attach_error, _d.data_lost),
    sa.func.public.short_reservation_id(_d.reservation_id).label("reservation_short_id"),
    *(_d.reservation_id, _r.status.label("reservation_status"), _d.release_asked_at),
    # Of one that has ended: what is not gone yet.
    WAITS_FOR.label("holder_waits_for"),
    *(_d.snapshot_count, _d.pending_snapshot_count, _pending_percent.label("pending_percent"), _d.last_snapshot_at),
    *(_d.marked_deleted_at, _d.delete_date, _d.ebs_volume_id, _d.ebs_availability_zone),
    *(as_text(_d.next_snapshot_id, "next_snapshot_id"), _d.latest_snapshot_content_s3),
    *(as_text(_d.operation_id, "operation_id"), _d.operation_status, _d.operation_error),
    # What it means for a reservation that does not exist yet.
    sa.func.public.hold_by_disk(
        disks.c.status, disks.c.release_asked_at, disks.c.reservation_id, disks.c.pending_snapshot_count, sa.null()
    ).label("reason_code"),
)
_SNAPSHOT_COLUMNS = (
    *(as_text(_s.snapshot_id, "snapshot_id"), as_text(_s.disk_id, "disk_id"), _s.kind, _s.status, _s.status_reason),
    *(_s.progress_percent, _s.size_gb, _s.created_at, _s.completed_at, _s.deleted_at, _s.failure_reason),
    *(_s.content_s3, _s.ebs_snapshot_id, _s.reservation_id, as_text(_s.operation_id, "operation_id")),
)


def rows() -> sa.Select[Any]:
    held = disks.outerjoin(reservations, _r.reservation_id == _d.reservation_id)
    return sa.select(*_COLUMNS).select_from(held)


def by_name(conn: Connection, user_id: str, disk_name: str) -> Row | None:
    return first(conn, rows().where(_d.user_id == user_id, _d.disk_name == disk_name))


def resolve(conn: Connection, disk_name: str, user_id: str) -> Row:
    """The disk of a user by its name.

    Raises:
        Refusal: there is none; the message says who has one of this name.
    """
    found = by_name(conn, user_id, disk_name)
    if found is not None:
        return found
    text = f"{printable(user_id)} has no disk {printable(disk_name)}."
    other = first(conn, sa.select(_d.user_id).where(_d.disk_name == disk_name).order_by(_d.user_id).limit(1))
    if other is not None:
        raise Refusal(f"{text}\n--user {typed(other['user_id'], '')} has one.")
    theirs = [row["disk_name"] for row in fetch(conn, sa.select(_d.disk_name).where(_d.user_id == user_id))]
    near = [typed(name, "") for name in nearest(disk_name, theirs)]
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise Refusal(f"{text}{meant} See `pgfleet disk ls`; `pgfleet disk create {typed(disk_name, 'NAME')}` makes one.")


def listing(conn: Connection, user_id: str | None, *, lost_too: bool, most: int) -> list[Row]:
    """Disks by their user and name; those that are purged, or could not be made, only if asked for."""
    statement = rows().order_by(_d.user_id, _d.disk_name).limit(most)
    if user_id is not None:
        statement = statement.where(_d.user_id == user_id)
    if not lost_too:
        statement = statement.where(_d.status.not_in([Status.PURGED.value, Status.FAILED.value]))
    return fetch(conn, statement)


def snapshots(conn: Connection, disk_id: str) -> list[Row]:
    """The snapshots of a disk, newest first."""
    statement = sa.select(*_SNAPSHOT_COLUMNS).where(_s.disk_id == disk_id)
    return fetch(conn, statement.order_by(_s.created_at.desc(), _s.snapshot_id))


def resolve_snapshot(conn: Connection, disk: Row, given: str) -> Row:
    """The snapshot of a whole id, or of the beginning of one, that is unique among those of the disk.

    Raises:
        Refusal: several begin so, or none does; the message lists what there is.
    """
    given = given.strip().lower()
    begun = [row for row in snapshots(conn, disk["disk_id"]) if given and row["snapshot_id"].startswith(given)]
    name = printable(disk["disk_name"])
    several = Several(
        f"{printable(given)} is the beginning of several snapshots of disk {name}",
        lambda row: f"{row['snapshot_id']}  {row['status']}",
    )
    found = only(begun, several)
    if found is None:
        see = f"pgfleet disk show {typed(disk['disk_name'], 'NAME')} --user {typed(disk['user_id'], '')}"
        raise Refusal(f"Disk {name} has no snapshot whose id begins with {printable(given) or 'nothing'}. See `{see}`.")
    return found


def of_reservation(conn: Connection, reservation: Mapping[str, Any]) -> list[Row]:
    """The moves of a reservation's disk while it wanted or had it, and of the snapshots taken for it; oldest first.

    A reservation is over only when its disk is free.
    """
    if reservation["disk_name"] is None:
        return []
    since, until = reservation["created_at"], reservation["reservation_ended"]
    mine = (_d.user_id == reservation["user_id"], _d.disk_name == reservation["disk_name"])
    taken = _s.reservation_id == reservation["reservation_id"]
    of_disk = [
        Row({"machine": DISK, **move})
        for move in history(conn, DISK, sa.select(sa.cast(_d.disk_id, sa.Text)).where(*mine))
        if move["at"] >= since and (until is None or move["at"] <= until)
    ]
    of_snapshots = [
        Row({"machine": SNAPSHOT, **move})
        for move in history(conn, SNAPSHOT, sa.select(sa.cast(_s.snapshot_id, sa.Text)).where(taken))
    ]
    return sorted([*of_disk, *of_snapshots], key=lambda move: move["at"])


def quarantine(conn: Connection, *, gone_too: bool) -> list[Row]:
    """What AWS has and no row accounts for, oldest first; what it no longer has only if asked for."""
    columns = (
        *(_q.resource_id, as_text(_q.disk_id, "disk_id"), as_text(_q.snapshot_id, "snapshot_id"), _q.reason),
        *(_q.found_at, _q.gone_at, _d.disk_name, _d.user_id, _d.status.label("disk_status")),
    )
    known = disk_quarantine.outerjoin(disks, _d.disk_id == _q.disk_id)
    statement = sa.select(*columns).select_from(known).order_by(_q.found_at, _q.resource_id)
    return fetch(conn, statement if gone_too else statement.where(_q.gone_at.is_(None)))


def whole(given: str) -> str | None:
    """A whole id as it is stored; None for the beginning of one."""
    try:
        return str(uuid.UUID(given)) if len(given) >= ID_LENGTH - 4 else None
    except ValueError:
        return None
