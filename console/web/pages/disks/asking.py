"""What may be asked of a disk as it is: each says first what it leads to."""

from typing import Any
from uuid import UUID

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.words import relative
from pgfleet.console.web.page import View
from pgfleet.console.web.pages.disks.listing import address_of
from pgfleet.schema.disk import DISK_NAME, SnapshotStatus, Status
from pgfleet.schema.reservation import FINAL

Known = dict[str, Any]
OVER = (Status.PURGED, Status.FAILED)
FOLLOWED = "/disk-operations/{id}"


def actions(view: View, row: Known) -> h.Node:
    """Those that its state allows; a worker does them, and the list below tells how far it is."""
    if row["status"] in OVER:
        return None
    return h.div(".actions")[_of_state(view, row), _clone(view, row), _clear_lock(view, row), _delete(view, row)]


def _act(view: View, row: Known, operation: str, label: str, **more: Any) -> h.Node:
    """Once for the disk as it is now: what was asked of it since makes it another one."""
    newest = row["operations"][0]["operation_id"] if row["operations"] else None
    once = token(operation, row["disk_id"], row["status"], row["status_since"], newest)
    given = {"user_id": row["user_id"], **more.pop("given", {})}
    if operation == "delete_disk":
        given["operation_id"] = str(UUID(once))
    here = address_of(row["disk_name"], row["user_id"])
    words = {"back": here, "done": "Asked for: what becomes of it is below.", **more}
    return button(view, Act(operation, label, once, {"name": row["disk_name"]}, given=given, **words))


def _of_state(view: View, row: Known) -> h.Node:
    match row["status"]:
        case Status.ATTACHED:
            return _act(view, row, "snapshot_disk", "Snapshot")
        case Status.DELETED:
            return _act(view, row, "undelete_disk", "Bring it back")
        case Status.AVAILABLE:
            return _restore(view, row)
    return None


def _restore(view: View, row: Known) -> h.Node:
    whole = [each for each in row["snapshots"] if each["status"] == SnapshotStatus.COMPLETED]
    if not whole:
        return None
    chosen = h.label[
        "As of",
        h.select(name="snapshot_id", required=True)[
            (
                h.option(value=each["snapshot_id"])[f"{_moment(view, each)} ({each['snapshot_id'][:8]})"]
                for each in whole
            )
        ],
    ]
    consequence = (
        "The next reservation finds the disk as that snapshot has it. Newer snapshots are kept: you can go back."
    )
    return _act(view, row, "restore_disk", "Restore", fields=chosen, consequence=consequence)


def _moment(view: View, each: Known) -> str:
    at = each["completed_at"] or each["created_at"]
    return f"{at:%Y-%m-%d %H:%M} UTC, {relative((at - view.now).total_seconds())}"


def _clone(view: View, row: Known) -> h.Node:
    if row["status"] not in (Status.AVAILABLE, Status.ATTACHED):
        return None
    name = h.label[
        "Name of the copy", h.input(name="target_disk", required=True, maxlength="255", pattern=DISK_NAME[1:-1])
    ]
    return _act(view, row, "clone_disk", "Clone", fields=name, back=FOLLOWED, done="Asked for.")


def _clear_lock(view: View, row: Known) -> h.Node:
    """Of a disk whose reservation is over and has not let go of it, or whose data are lost."""
    is_held = row["status"] == Status.ATTACHED and row["reservation_status"] in (None, *FINAL)
    if not is_held and not row["data_lost"]:
        return None
    consequence = "It is let go of as it is; what its reservation wrote last is kept only where a snapshot has it."
    return _act(view, row, "clear_disk_lock", "Release it", consequence=consequence)


def _delete(view: View, row: Known) -> h.Node:
    if row["status"] != Status.AVAILABLE:
        return None
    days = view.call.settings.disk_kept_s // 86_400
    consequence = (
        f"No reservation can use it any more. For {days:.0f} days it can be brought back; "
        "then it goes with all its snapshots, for good."
    )
    return _act(view, row, "delete_disk", "Delete", consequence=consequence, is_danger=True)
