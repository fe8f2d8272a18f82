"""Quarantine: volumes, snapshots and pods that no row accounts for. None is deleted by us: a person decides."""

import htpy as h

from pgfleet.console.web.look.tables import Column, filters, table
from pgfleet.console.web.look.words import link, number, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.disks.listing import address_of
from pgfleet.producers.http.endpoints.quarantine import QuarantineFilter, list_quarantine, list_stray_pods
from pgfleet.schema.rows.row import Row


def quarantine(view: View) -> Screen:
    asked = view.call.asked(QuarantineFilter)
    gone = h.input(type="checkbox", name="gone", value="true", checked=asked.gone)
    return Screen(
        "Quarantine",
        [
            Part("ask", filters(view.address, h.label(".tick")[gone, " gone, too"]), is_live=False),
            Part("disks", _disks(view)),
            Part("pods", _pods(view)),
        ],
    )


def _disks(view: View) -> h.Node:
    columns = [
        Column("Volume or snapshot", lambda row: h.code[row["resource_id"]]),
        Column("Says it is of", _whose),
        Column("Found", lambda row: when(row["found_at"], view.now)),
        Column("Gone", lambda row: when(row["gone_at"], view.now, "no")),
        Column("Why", lambda row: row["reason"]),
    ]
    return [
        h.h2["Volumes and snapshots"],
        h.p(".dim")[
            "AWS has them under our tag, and no row does. They cost money and may hold somebody's data: look, then "
            "delete them at AWS, or give them their row back."
        ],
        table(
            columns, list_quarantine(view.call).body["items"], "None: every one has its row.", "Volumes and snapshots"
        ),
    ]


def _whose(row: Row) -> h.Node:
    if row["disk_name"] is None:
        return h.span(".dim")["a disk that is not known"]
    return [
        link(address_of(row["disk_name"], row["user_id"]), row["disk_name"]),
        f" of {row['user_id']}, {row['disk_status']}",
    ]


def _pods(view: View) -> h.Node:
    columns = [
        Column("Pod", lambda row: h.code[f"{row['namespace']}/{row['pod_name']}"]),
        Column("Node", lambda row: row["node_name"]),
        Column("GPUs", lambda row: f"{number(row['gpus'])} × {row['gpu_type'] or 'unknown'}", is_number=True),
        Column("Found", lambda row: when(row["found_at"], view.now)),
        Column("Gone", lambda row: when(row["gone_at"], view.now, "no")),
        Column("Why", lambda row: row["reason"]),
    ]
    return [
        h.h2["Pods"],
        h.p(".dim")[
            "They run under our label, and no row does. Their GPUs are taken off the free ones until they are gone."
        ],
        table(columns, list_stray_pods(view.call).body["items"], "None: every pod has its row.", "Pods"),
    ]


PAGES = (
    Page(
        "/quarantine",
        "Quarantine",
        "quarantine.read",
        quarantine,
        asks=QuarantineFilter,
        machines=frozenset({"disk"}),
        every_s=30,
        under="/disks",
    ),
)
