"""One disk: its state and the way it took, what is kept of it, what was asked of it, and what may be."""

from typing import Any

import htpy as h

from pgfleet.console.web.look.links import to_reservation
from pgfleet.console.web.look.pictures.machine import picture
from pgfleet.console.web.look.tables import Column, table
from pgfleet.console.web.look.words import link, number, since, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.disks.asking import actions
from pgfleet.console.web.pages.disks.operation import became, progress
from pgfleet.producers.http.endpoints.disks import Whose, get_disk
from pgfleet.schema.disk import Status
from pgfleet.schema.reads import about, disk
from pgfleet.schema.reads.pictures.machine import moves
from pgfleet.schema.rows.row import Row

PLACES = {
    "creating": (0, 0), "available": (1, 0), "attached": (2, 0),
    "failed": (0, 1), "deleted": (1, 1), "purged": (2, 1),
}  # fmt: skip
# What a snapshot was made for.
KINDS = {
    "manual": "as asked for",
    "shutdown": "at an end",
    "cancellation": "at a cancellation",
    "migration": "for another zone",
}
Known = dict[str, Any]


def disk_page(view: View) -> Screen:
    row = get_disk(view.having("disks.read")).body
    history = about.history(view.call.conn, disk.DISK, [str(row["disk_id"])])
    return Screen(
        row["disk_name"],
        [
            Part("state", _state(view, row)),
            Part("actions", actions(view, row)),
            Part("operations", _operations(view, row)),
            Part("snapshots", _snapshots(view, row)),
            Part("picture", _picture(view, row, history)),
            Part("facts", _facts(view, row)),
            Part("story", _story(view, history)),
        ],
    )


def _state(view: View, row: Known) -> h.Node:
    told = since if row["status"] in (Status.AVAILABLE, Status.ATTACHED) else when
    return [
        h.p(".lead")[
            state(row["status"]), " ", told(row["status_since"], view.now), " · ", number(row["size_gb"], "GB", "GB"),
            " of ", row["user_id"],
        ],
        row["status"] == Status.DELETED and h.p(".waits")[f"It can be brought back until {row['delete_date']}."],
        (h.p(".trouble")[row[name]] for name in ("attach_error", "data_lost") if row[name]),
        row["reservation_id"] and h.p[
            "Used by ", to_reservation(row["reservation_id"]), f" ({row['reservation_status'] or 'gone'})",
            row["release_asked_at"] and ["; it is let go of since ", when(row["release_asked_at"], view.now)],
        ],
        row["detail"] and h.p[row["detail"]],
    ]  # fmt: skip


def _snapshots(view: View, row: Known) -> h.Node:
    columns = [
        Column("Snapshot", lambda each: h.code(title=each["snapshot_id"])[each["snapshot_id"][:8]]),
        Column("State", lambda each: progress(each["status"], each["progress_percent"])),
        Column("Made", lambda each: KINDS.get(each["kind"], each["kind"])),
        Column("Size", lambda each: number(each["size_gb"], "GB", "GB"), is_number=True),
        Column("Asked for", lambda each: when(each["created_at"], view.now)),
        Column("Whole since", lambda each: when(each["completed_at"], view.now, "–")),
        Column("What it says", lambda each: _says(row, each)),
    ]
    empty = "Nothing is kept of it yet: a snapshot is made when a reservation with it ends, or when you ask for one."
    return [h.h2["Snapshots"], table(columns, row["snapshots"], empty, "Snapshots")]


def _says(row: Known, each: Any) -> Any:
    if each["failure_reason"]:
        return h.span(".trouble")[each["failure_reason"]]
    if each["snapshot_id"] == row["next_snapshot_id"]:
        return h.strong["the next reservation finds this one"]
    return each["status_reason"]


def _operations(view: View, row: Known) -> h.Node:
    columns = [
        Column("Asked for", lambda each: link(f"/disk-operations/{each['operation_id']}", _named(row, each))),
        Column("State", lambda each: progress(each["status"], each["progress_percent"])),
        Column("When", lambda each: when(each["created_at"], view.now)),
        Column("Done", lambda each: when(each["finished_at"], view.now, "–")),
        Column("What it says", became),
    ]
    empty = "Nothing was asked of it lately."
    return [h.h2["What was asked of it"], table(columns, row["operations"], empty, "Operations")]


def _named(row: Known, each: Row) -> str:
    action = each["action"].removesuffix("_disk").replace("_", " ")
    return f"{action} to {each['disk_name']}" if each["source_disk"] == row["disk_name"] else action


def _picture(view: View, row: Known, history: list[Row]) -> h.Node:
    taken = [(move["from_status"], move["to_status"]) for move in history]
    allowed = [(move["from_status"], move["to_status"]) for move in moves(view.call.conn, disk.DISK)]
    return [h.h2["Its way"], picture(PLACES, allowed, taken, row["status"])]


def _facts(view: View, row: Known) -> h.Node:
    facts: list[tuple[str, h.Node]] = [
        ("Id", h.code[str(row["disk_id"])]),
        ("User", row["user_id"]),
        ("Size", number(row["size_gb"], "GB", "GB")),
        ("Holds", row["disk_size"]),
        ("Made", when(row["created_at"], view.now)),
        ("Last used", when(row["last_used"], view.now, "never")),
        ("Newest snapshot", when(row["last_snapshot_at"], view.now, "none")),
        ("Volume", row["ebs_volume_id"] and f"{row['ebs_volume_id']} in {row['ebs_availability_zone']}"),
        ("Deleted", row["marked_deleted_at"] and when(row["marked_deleted_at"], view.now)),
    ]
    return [h.h2["Facts"], h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts if value)]]


def _story(view: View, history: list[Row]) -> h.Node:
    columns = [
        Column("When", lambda move: when(move["at"], view.now)),
        Column("What", lambda move: f"{move['from_status']} → {move['to_status']}"),
        Column("Why", lambda move: move["reason"]),
        *([Column("By", lambda move: move["actor"])] if view.sees_all("disks.read") else []),
    ]
    return [h.h2["What happened"], table(columns, history[::-1], "Nothing yet.", "What happened")]


PAGES = (
    Page(
        "/disks/{name}",
        "Disk",
        "disks.read",
        disk_page,
        asks=Whose,
        machines=frozenset({"disk", "disk_snapshot", "disk_operation"}),
    ),
)
