"""A reservation's persistent disk: attached when it is admitted, its home in the pod, and released at its end.

What concerns AWS is the disk worker's (workers/disk/): here its row is asked for a volume, and for its release.
"""

from collections.abc import Container
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from pgfleet.schema.disk import DEFAULT_SIZE_GB, QUOTA, SNAPSHOT_PENDING, ZONE_FULL, Status
from pgfleet.schema.printable import plural
from pgfleet.schema.reservation import CreateReservation
from pgfleet.schema.reservation import Status as ReservationStatus
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.disks import disks
from pgfleet.workers.clients.kubernetes.home import Home, size_of
from pgfleet.workers.clients.kubernetes.names import home_name
from pgfleet.workers.clients.kubernetes.pod import PodState
from pgfleet.workers.clients.kubernetes.zones import ZONE
from pgfleet.workers.handover import hand_out_disk, release, release_when_detached
from pgfleet.workers.reservation.tools import Turn, changed, freed, pod_of, ticket
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Move,
    NeverError,
    New,
    Outcome,
    TryAgainError,
    Wait,
    wait,
)

# After so long the home is not listed any more: its snapshot is what counts.
LISTING_PATIENCE = timedelta(seconds=60)
# The disk worker sends a ticket when the disk is free; should that be lost, this one looks.
RELEASE_RECHECK_S = 60.0


def asks_for_disk(row: Row) -> bool:
    """Of a gang, the first node has the disk."""
    return row.disk_name is not None and not row.node_index


def disk_misfit(message: CreateReservation, view: View) -> str | None:
    """Why a reservation can never have the disk that it asks for."""
    if message.disk_name is None:
        return None if message.disk_size_gb is None else "disk_size_gb: only with disk_name"
    disk = view.disks.get((message.user_id, message.disk_name))
    if disk is not None and message.disk_size_gb not in (None, disk.size_gb):
        return f"disk_size_gb: disk {disk.disk_name} has {disk.size_gb} GB"
    return no_disk(disk) if disk is not None else None


def no_disk(disk: Row) -> str | None:
    """Why nobody can have this disk, now or later."""
    if disk.status == Status.DELETED:
        undelete = f"pgfleet disk undelete {disk.disk_name}"
        return f"disk_name: disk {disk.disk_name} was deleted; until {disk.delete_date}: {undelete}"
    if disk.status in (Status.PURGED, Status.FAILED):
        return f"disk_name: disk {disk.disk_name} is {disk.status}"
    return None


def first_disk(row_id: str, user_id: str, disk_name: str | None, size_gb: int | None, view: View) -> Advance:
    """The disk of the first reservation that asks for it, made with its row."""
    if disk_name is None or (user_id, disk_name) in view.disks:
        return Advance()
    values = {
        "disk_id": uuid4(),
        "disk_name": disk_name,
        "user_id": user_id,
        "size_gb": size_gb or DEFAULT_SIZE_GB,
        "created_at": view.now,
    }
    return hand_out_disk(New(disks, Status.CREATING, f"asked for by reservation {row_id}", values))


def attachment(row: Row, view: View) -> Advance:
    """What goes with its admission: nothing where it asks for no disk, or has it already."""
    if not asks_for_disk(row):
        return Advance()
    disk = view.disks[row.user_id, row.disk_name]
    if disk.reservation_id == row.reservation_id:
        return Advance()
    values = {
        "reservation_id": row.reservation_id,
        "attachment": disk.attachment + 1,
        "source_snapshot_id": disk.next_snapshot_id or disk.newest_snapshot_id,
        "last_used": view.now,
        "detail": None,
        "attach_error": None,
        "volumes_failed": 0,
    }
    return hand_out_disk(Move(disk, Status.ATTACHED, f"for reservation {row.reservation_id}", values))


def disk_hold(row: Row, view: View, taken: Container[tuple[str, str]] = ()) -> str | None:
    """Why its disk keeps it waiting: who has it, or how far its snapshot is; `taken` are those that this look gives."""
    disk = view.disks.get((row.user_id, row.disk_name)) if asks_for_disk(row) else None
    if disk is None:
        return None
    if (row.user_id, row.disk_name) in taken:
        return f"DISK_IN_USE: disk {disk.disk_name} is being attached to another reservation"
    code = disk.own_hold if disk.reservation_id == row.reservation_id else disk.hold
    return None if code is None else f"{code}: disk {disk.disk_name}{_until(disk, code)}"


def _until(disk: Row, code: str) -> str:
    """What it keeps for: 170 has the rule, these are the words."""
    if code == SNAPSHOT_PENDING and disk.pending_snapshot_count:
        return f": its snapshot is {disk.progress or 0} % done"
    if code == SNAPSHOT_PENDING:
        return " is being made"
    if disk.release_asked_at is None:
        ended = f", which has ended: {disk.holder_waits_for}" if disk.holder_waits_for else ""
        return f" is attached to reservation {disk.reservation_id or 'that is gone'}{ended}"
    return f" is being released: {disk.detail or 'its volume is going'}"


def home_of(row: Row, disk: Row) -> Home:
    return Home(
        name=home_name(row.pod_name),
        reservation_id=row.reservation_id,
        pod=row.pod_name,
        volume_id=disk.ebs_volume_id,
        size_gb=disk.size_gb,
        zone=disk.ebs_availability_zone,
    )


class NoRoomError(Exception):
    """No node of the type has room now, or AWS none for its volume in their zone."""


def disk_of(row: Row, view: View) -> Row:
    """The disk that is attached to it.

    Raises:
        NoRoomError: not in this zone.
        NeverError: it can't be attached, or somebody has taken it away; the reservation never gets an empty home.
    """
    disk = view.held.get(row.reservation_id)
    if disk is None or disk.release_asked_at is not None:
        raise NeverError(f"disk {row.disk_name} is not attached to it any more")
    if disk.attach_error and disk.attach_error.startswith((ZONE_FULL, QUOTA)):
        raise NoRoomError(disk.attach_error)
    if disk.attach_error:
        raise NeverError(f"disk {row.disk_name} can't be attached: {disk.attach_error}")
    return disk


def make_home(row: Row, turn: Turn) -> Wait | None:
    """Zone, volume, claim: what it waits for; None when the pod may be made.

    Raises:
        NoRoomError: there is no node that a zone could be taken from.
    """
    disk = disk_of(row, turn.view)
    failed = f": AWS could not make {plural(disk.volumes_failed, 'volume')}, and is asked again"
    shown = f"Making the volume of disk {disk.disk_name}{failed if disk.volumes_failed else ''}"
    waits = wait(row, shown, turn.later(turn.tools.settings.pod_poll_s))
    if disk.ebs_volume_id is None and disk.ebs_availability_zone is None:
        # Of a gang, all go where its first one has its disk.
        zones = [row.placement[ZONE]] if ZONE in (row.placement or {}) else _zones(row, turn)
        if not zones:
            raise NoRoomError("No node: none has room for a pod with a disk now")
        # Where a pod has found no node before, the next zone is tried.
        zone = sorted(zones)[row.schedule_failures % len(zones)] if row.schedule_failures else zones[0]
        zoned = hand_out_disk(Move(disk, None, values={"ebs_availability_zone": zone}))
        return replace(waits, changes=(*zoned.changes, *waits.changes), then=zoned.then)
    if disk.ebs_volume_id is None or disk.volume_is_new or disk.ebs_availability_zone is None:
        return waits
    turn.hold()
    turn.tools.homes.make(home_of(row, disk))
    return None


def _zones(row: Row, turn: Turn) -> list[str]:
    return turn.tools.homes.zones(row.gpu_type, row.gpu_count, row.kept_to_node)


def remove_home(row: Row, turn: Turn) -> bool:
    """Whether it is seen gone."""
    turn.hold()
    return turn.tools.homes.remove(home_name(pod_of(row, turn)), row.reservation_id)


def list_contents(row: Row, disk: Row, turn: Turn) -> Wait:
    """What is in the home, while there is still a pod to ask; for the snapshot that follows."""
    text = None
    try:
        text = turn.tools.homes.contents(row.pod_name)
    except (TryAgainError, NeverError):
        if turn.waited(row.status_since) < LISTING_PATIENCE:
            raise
    values: dict[str, Any] = {"contents": text, "contents_at": turn.now}
    size = size_of(text) if text else None
    return Wait("its home was listed", turn.now, (Move(disk, None, values={**values, **_size(size)}),))


def _size(size: str | None) -> dict[str, Any]:
    return {"disk_size": size} if size else {}


def is_to_be_listed(row: Row, pod: PodState | None, disk: Row | None) -> bool:
    if pod is None or disk is None or disk.release_asked_at is not None or disk.contents_at is not None:
        return False
    return pod.phase == "Running" and not pod.deleting and pod.reservation_id == row.reservation_id


def let_go(row: Row, disk: Row, view: View) -> Advance:
    """Ask for the release; the reservation is over when its disk is free."""
    kind = "cancellation" if row.status == ReservationStatus.CANCELLED else "shutdown"
    at = view.now + timedelta(seconds=RELEASE_RECHECK_S)
    again = Advance(then=(ticket(row.reservation_id, row.ticket, at),))
    # A pod that was deleted by force may still be writing.
    asked = release_when_detached(disk, view.now) if row.forced_at else release(disk, kind, view.now)
    return Advance(changed(row, freed(row))) + asked + again


def wait_for_release(row: Row, view: View) -> Outcome:
    return Wait("its disk is being released", view.now + timedelta(seconds=RELEASE_RECHECK_S), changed(row, freed(row)))
