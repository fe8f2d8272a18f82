"""One operation on a disk, from when it was asked for until what became of it."""

from collections.abc import Mapping
from typing import Any

import htpy as h

from pgfleet.console.web.look.pictures.bars import bar
from pgfleet.console.web.look.words import link, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.disks.listing import address_of
from pgfleet.producers.http.endpoints.disks import get_disk_operation
from pgfleet.schema.disk import LIVE_OPERATION, UNFINISHED
from pgfleet.schema.reads import disk

_GOES_ON = {*LIVE_OPERATION, *UNFINISHED}


def progress(status: str, percent: int | None) -> h.Node:
    """The state; of what goes on, how far it is."""
    if percent is None or status not in _GOES_ON:
        return state(status)
    parts = [("held", percent, f"{percent} % done"), ("rest", 100 - percent, f"{100 - percent} % to come")]
    return h.div(".progress")[state(status), bar(parts, f"{percent} % done"), h.span(".dim")[f"{percent} %"]]


def became(row: Mapping[str, Any]) -> h.Node:
    """What it says: why it failed, what it waits for, or what it did."""
    return h.span(".trouble")[row["error"]] if row["error"] else row["detail"] or row["status_reason"]


def disk_operation(view: View) -> Screen:
    row = get_disk_operation(view.having("disks.read")).body
    is_there = disk.by_name(view.call.conn, row["user_id"], row["disk_name"]) is not None
    named = link(address_of(row["disk_name"], row["user_id"]), row["disk_name"]) if is_there else row["disk_name"]
    verb = row["action"].removesuffix("_disk").replace("_", " ")
    source = row["source_disk"]
    facts: list[tuple[str, h.Node]] = [
        ("Id", h.code[row["operation_id"]]),
        ("Disk", named),
        ("From", source and link(address_of(source, row["user_id"]), source)),
        ("User", row["user_id"]),
        ("Asked for", when(row["created_at"], view.now)),
        ("Done", when(row["finished_at"], view.now, "not yet")),
    ]
    return Screen(
        f"{verb.capitalize()}: {row['disk_name']}",
        [
            Part(
                "state",
                [
                    h.div(".lead")[progress(row["status"], row["progress_percent"])],
                    h.p[became(row)],
                    row["status"] in LIVE_OPERATION and h.p(".dim")["This page shows by itself what becomes of it."],
                ],
            ),
            Part(
                "facts", [h.h2["Facts"], h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts if value)]]
            ),
        ],
    )


PAGES = (
    Page(
        "/disk-operations/{operation_id}",
        "Operation",
        "disks.read",
        disk_operation,
        machines=frozenset({"disk_operation", "disk_snapshot"}),
        under="/disks",
    ),
)
