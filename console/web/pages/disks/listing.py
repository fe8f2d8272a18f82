"""All disks that one may see, the newest first, with the filter in the address."""

from urllib.parse import quote, urlencode

import htpy as h

from pgfleet.console.web.look.links import to_reservation
from pgfleet.console.web.look.tables import Column, choice, filters, table, turning, words
from pgfleet.console.web.look.words import link, number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.disks import DiskFilter, list_disks
from pgfleet.schema.disk import Status
from pgfleet.schema.rows.row import Row


def disks(view: View) -> Screen:
    asked = view.call.asked(DiskFilter)
    found = list_disks(view.call).body
    sees_all = view.sees_all("disks.read")
    return Screen(
        "Disks",
        [
            Part("new", lambda: _ways(view), is_live=False),
            Part("ask", lambda: _filters(view, asked, sees_all=sees_all), is_live=False),
            Part("list", _list(view, found["items"], sees_all=sees_all, is_filtered=asked != DiskFilter())),
            Part("pages", turning(view.address, asked, found["next"])),
        ],
    )


def address_of(disk_name: str, user_id: str) -> str:
    """Of a disk's page; whose it is is in there, as two users may have one of a name."""
    return f"/disks/{quote(disk_name, safe='')}?{urlencode({'user_id': user_id})}"


def _ways(view: View) -> h.Node:
    return h.div(".actions")[
        view.may("disks.write") and h.a(".button", href="/new-disk")["New disk"],
        view.may("quarantine.read") and h.a(".button", href="/quarantine")["Quarantine"],
    ]


def _filters(view: View, asked: DiskFilter, *, sees_all: bool) -> h.Node:
    return filters(
        view.address,
        words("name", "Name has", asked.name),
        choice("status", "State", list(Status), asked.status),
        sees_all and words("user_id", "User", asked.user_id),
        h.label(".tick")[h.input(type="checkbox", name="gone", value="true", checked=asked.gone), " purged, too"],
    )


def _list(view: View, rows: list[Row], *, sees_all: bool, is_filtered: bool) -> h.Node:
    columns = [
        Column("Disk", lambda row: link(address_of(row["disk_name"], row["user_id"]), row["disk_name"])),
        Column("State", lambda row: state(row["status"])),
        *([Column("User", lambda row: row["user_id"])] if sees_all else []),
        Column("Size", lambda row: number(row["size_gb"], "GB", "GB"), is_number=True),
        Column("Used by", lambda row: _user(view, row)),
        Column("Snapshots", _snapshots, is_number=True),
        Column("Newest", lambda row: when(row["last_snapshot_at"], view.now, "none")),
        Column("What it says", _says),
    ]
    empty = (
        ["None fits this filter. ", link(view.address, "Show all")]
        if is_filtered
        else ["There are none yet. A disk keeps what is in /home from one reservation to the next. ",
              link("/new-disk", "Make one"), ", or name a new one when you ", link("/reserve", "reserve"), "."]
    )  # fmt: skip
    return table(columns, rows, empty, "Disks")


def _user(view: View, row: Row) -> h.Node:
    if row["reservation_id"] is not None:
        return to_reservation(row["reservation_id"])
    if row["last_used"] is None:
        return h.span(".dim")["nobody yet"]
    return h.span(".dim")["nobody, last ", when(row["last_used"], view.now)]


def _snapshots(row: Row) -> h.Node:
    pending = row["pending_snapshot_count"]
    percent = "" if row["pending_percent"] is None else f" at {row['pending_percent']} %"
    return [number(row["snapshot_count"]), pending > 0 and h.span(".waits")[f" + {pending} being made{percent}"]]


def _says(row: Row) -> h.Node:
    if row["status"] == Status.DELETED:
        return row["delete_date"] and f"can be brought back until {row['delete_date']}"
    trouble = row["attach_error"] or row["data_lost"]
    if trouble:
        return h.span(".trouble")[trouble]
    # Who has it is said beside it.
    return row["detail"] or (row["status_reason"] if row["reservation_id"] is None else None)


PAGES = (
    Page(
        "/disks", "Disks", "disks.read", disks, menu=30, asks=DiskFilter, machines=frozenset({"disk", "disk_snapshot"})
    ),
)
