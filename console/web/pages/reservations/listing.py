"""All reservations that one may see, the newest first, with the filter in the address."""

import htpy as h

from pgfleet.console.web.look.links import to_page, to_reservation
from pgfleet.console.web.look.tables import Column, choice, filters, table, turning, words
from pgfleet.console.web.look.words import gpus, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.reservations import ReservationFilter, list_reservations
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reservation import Status
from pgfleet.schema.rows.row import Row


def reservations(view: View) -> Screen:
    asked = view.call.asked(ReservationFilter)
    found = list_reservations(view.call).body
    sees_all = view.sees_all("reservations.read")
    return Screen(
        "Reservations",
        [
            Part("ask", lambda: _filters(view, asked, sees_all=sees_all), is_live=False),
            Part("list", _list(view, found["items"], sees_all=sees_all, is_filtered=asked != ReservationFilter())),
            Part("pages", turning(view.address, asked, found["next"])),
        ],
    )


def _filters(view: View, asked: ReservationFilter, *, sees_all: bool) -> h.Node:
    types = list(reads.types(view.call.conn))
    return filters(
        view.address,
        choice("status", "State", list(Status), asked.status),
        choice("gpu_type", "GPU type", types, asked.gpu_type),
        sees_all and words("user_id", "User", asked.user_id),
        h.label(".tick")[h.input(type="checkbox", name="live", value="true", checked=asked.live), " not over"],
    )


def _list(view: View, rows: list[Row], *, sees_all: bool, is_filtered: bool) -> h.Node:
    columns = [
        Column("Reservation", lambda row: to_reservation(row["reservation_id"], row["name"])),
        Column("State", lambda row: state(row["status"])),
        *([Column("User", lambda row: row["user_id"])] if sees_all else []),
        Column("GPUs", gpus),
        Column("Since", lambda row: when(row["status_since"], view.now)),
        Column("Ends", lambda row: when(row["expires_at"], view.now, "–")),
        Column(
            "What it says",
            lambda row: (
                row["failure_reason"] or row["warning"] or row["current_detailed_status"] or row["status_reason"]
            ),
        ),
    ]
    empty = (
        ["None fits this filter. ", h.a(href=view.address)["Show all"]]
        if is_filtered
        else ["There are none yet. ", to_page("/reserve", "Reserve your first GPUs")]
    )
    return table(columns, rows, empty, "Reservations")


PAGES = (
    Page(
        "/reservations",
        "Reservations",
        "reservations.read",
        reservations,
        menu=20,
        asks=ReservationFilter,
        machines=frozenset({"reservation"}),
    ),
)
