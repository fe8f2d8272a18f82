"""What a disk means for the reservation that wants it: whether it has to wait, with which code, or can never start."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.disk import SNAPSHOT_PENDING, Status
from pgfleet.schema.reads.trial import DryRun
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.disks import disks
from pgfleet.schema.tables.reservations import reservations

# The disk that a reservation's row asks for; the later nodes of a gang have none.
wanted_disk = disks.alias("wanted_disk")
_d, _r = wanted_disk.c, reservations.c
# Reservations, each with the disk that it wants, if there is such a disk.
RESERVATIONS_WITH_DISK = reservations.outerjoin(
    wanted_disk,
    sa.and_(_d.user_id == _r.user_id, _d.disk_name == _r.disk_name, sa.func.coalesce(_r.node_index, 0) == 0),
)
# Why it keeps that reservation waiting; null where it does not.
HOLD: sa.ColumnElement[str | None] = sa.func.public.hold_by_disk(
    _d.status, _d.release_asked_at, _d.reservation_id, _d.pending_snapshot_count, _r.reservation_id
)
# What the teardown of a reservation waits for (180).
WAITS_FOR: sa.ColumnElement[str | None] = sa.func.public.teardown_hold(
    _r.held_by, _r.held_since, _r.status, _r.reservation_ended, _r.current_detailed_status
)


def purge_date(disk: Mapping[str, Any], kept: timedelta) -> date | None:
    """Until when a deleted disk can be brought back; None for one that is not deleted."""
    if disk["status"] != Status.DELETED:
        return None
    if disk["delete_date"] is not None:
        known: date = disk["delete_date"]
        return known
    since: datetime = disk["marked_deleted_at"] or disk["status_since"]
    return (since + kept).date()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a dry run asks of a disk that there is.

    Attributes:
        size_gb: how large it should be, where that was said.
        kept: for how long a deleted disk can be brought back.
    """

    disk: Row
    size_gb: int | None
    kept: timedelta
    now: datetime


def with_disk(answer: DryRun, asked: Asked) -> DryRun:
    """The answer to a dry run, now that its disk is known; what is worse is told first."""
    if answer.code == "REJECTED":
        return answer
    refused = _refusal(asked)
    if refused:
        return DryRun(starts_now=False, code="REJECTED", reason=refused)
    code = asked.disk["reason_code"]
    if code is None or answer.code == "TYPE_DISABLED":
        return answer
    # When it will be free is nobody's to know: a reservation may be prolonged, a snapshot takes as long as it takes.
    return replace(answer, starts_now=False, code=code, reason=_why(asked.disk, code), eta=None)


def _refusal(asked: Asked) -> str | None:
    """Why a reservation with it can never start."""
    disk, name = asked.disk, asked.disk["disk_name"]
    until = purge_date(disk, asked.kept)
    match disk["status"]:
        case Status.DELETED if until is None or until < asked.now.date():
            return f"disk {name} is deleted, and being purged"
        case Status.DELETED:
            return f"disk {name} is deleted; until {until} `pgfleet disk undelete {name}` brings it back"
        case Status.PURGED:
            return f"disk {name} is purged: it was deleted for longer than it is kept"
        case Status.FAILED:
            return f"disk {name} could not be made: {disk['status_reason'] or 'no reason is known'}"
        case _ if asked.size_gb not in (None, disk["size_gb"]):
            return f"disk {name} has {disk['size_gb']} GB, not {asked.size_gb}"
        case _:
            return None


def _why(disk: Row, code: str) -> str:
    name, who = disk["disk_name"], disk["reservation_short_id"]
    if code == SNAPSHOT_PENDING:
        made = f"a snapshot of disk {name} is not completed, {disk['pending_percent'] or 0} %"
        return made if disk["pending_snapshot_count"] else f"disk {name} is being made"
    if disk["release_asked_at"] is not None:
        return f"disk {name} is being released: {disk['detail'] or 'its volume is going'}"
    ended = f", which has ended: {disk['holder_waits_for']}" if disk["holder_waits_for"] else ""
    return f"disk {name} is in use by {f'reservation {who}' if who else 'a reservation that is gone'}{ended}"
