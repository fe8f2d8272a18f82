"""Reserve: a form that says while one types whether it would start now, else when."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import htpy as h
from pydantic import BaseModel, ConfigDict

from pgfleet.console.web.acting import typed
from pgfleet.console.web.look.buttons import ACTIONS, ASKED_AT, BACK, DONE, ONCE
from pgfleet.console.web.look.tables import choice
from pgfleet.console.web.look.words import when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.reservations import NewReservation, try_reservation
from pgfleet.producers.http.reading import model_of
from pgfleet.schema.errors import FleetError
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reservation import GPU_COUNTS

AHEAD = "/reserve/ahead"


class Wish(BaseModel):
    """What the form holds, as it was typed; all of it is in the address, so that it can be sent to somebody."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    gpu_type: str | None = None
    gpu_count: str | None = None
    total_nodes: str | None = None
    duration_hours: str | None = None
    start_at: str | None = None
    name: str | None = None
    github_user: str | None = None
    disk_name: str | None = None
    disk_size_gb: str | None = None
    idle_minutes: str | None = None
    jupyter_enabled: str | None = None
    dockerimage: str | None = None
    user_id: str | None = None

    def given(self) -> dict[str, str]:
        return {name: text for name, text in self.model_dump(exclude_none=True).items() if text}


def reserve(view: View) -> Screen:
    wish = view.call.asked(Wish)
    types = [name for name, row in reads.types(view.call.conn).items() if row["is_active"]]
    if not types:
        nothing = h.p(".empty")[
            "There is no GPU type to ask for yet. An operator adds one: ", h.code["pgfleet types add h100 --total 16"]
        ]
        return Screen("Reserve", [Part("form", nothing, is_live=False)])
    return Screen("Reserve", [Part("form", _form(view, wish, types), is_live=False)])


def _form(view: View, wish: Wish, types: list[str]) -> h.Element:
    ahead = {
        "hx-get": AHEAD,
        "hx-trigger": "load, input from:#wish delay:300ms, every 10s",
        "hx-include": "#wish",
        "hx-target": "this",
    }
    return h.form("#wish.wish", method="post", action=f"{ACTIONS}/create_reservation")[
        h.input(type="hidden", name=ONCE, value=str(uuid.uuid4())),
        h.input(type="hidden", name=BACK, value="/reservations/{id}"),
        h.input(type="hidden", name=ASKED_AT, value=view.address),
        h.input(type="hidden", name=DONE, value="Asked for: this page shows what becomes of it."),
        h.fieldset[
            h.legend["What"],
            choice("gpu_type", "GPU type", types, wish.gpu_type or types[0], every="choose"),
            choice(
                "gpu_count",
                "GPUs a node",
                [str(each) for each in (0, *GPU_COUNTS)],
                wish.gpu_count or "1",
                every="choose",
            ),
            _field(
                "total_nodes", "Nodes, together", wish.total_nodes, type="number", min="1", max="4", placeholder="1"
            ),
            _field(
                "duration_hours",
                "Hours",
                wish.duration_hours or "8",
                type="number",
                min="0.05",
                max="72",
                step="any",
                required=True,
            ),
            _field("start_at", "Not before (empty: now)", wish.start_at, placeholder="2026-12-01T09:00Z"),
        ],
        h.div("#ahead.ahead", {**ahead, "aria-live": "polite"})[h.p(".dim")["Would it start now? …"]],
        h.fieldset[
            h.legend["Yours"],
            _field("name", "Name", wish.name, maxlength="255"),
            _field("github_user", "Your name at GitHub, for SSH", wish.github_user, placeholder="the one on record"),
            _field("disk_name", "Disk", wish.disk_name, placeholder="none: nothing is kept"),
            _field("disk_size_gb", "Its size, if it is new (GB)", wish.disk_size_gb, type="number", min="1"),
            _field("idle_minutes", "End when idle for (minutes)", wish.idle_minutes, type="number", min="1"),
            _field("dockerimage", "Image", wish.dockerimage, placeholder="the usual one"),
            view.sees_all("reservations.write")
            and _field("user_id", "For whom", wish.user_id, placeholder=view.username),
            h.label(".tick")[
                h.input(type="checkbox", name="jupyter_enabled", checked=wish.jupyter_enabled == "on"), " Jupyter"
            ],
        ],
        h.button(".button.main")["Reserve"],
    ]


def _field(name: str, label: str, value: str | None, **more: Any) -> h.Element:
    return h.label[label, h.input(name=name, value=value or "", autocomplete="off", **more)]


def reserve_ahead(view: View) -> Screen:
    """The dry run of what is typed so far."""
    try:
        asked = model_of(NewReservation, typed(NewReservation, view.call.asked(Wish).given()))
        told = try_reservation(replace(view.having("reservations.write"), body=asked)).body
    except FleetError as error:
        return _said(h.p(".trouble")["✕ ", str(error)])
    return _said(_answer(view, told))


def _answer(view: View, told: Mapping[str, Any]) -> h.Node:
    if told["starts_now"]:
        return h.p(".good")["● ", h.strong["Would start now"], f": {told['reason']}"]
    if told["reason_code"] == "REJECTED":
        return [
            h.p(".trouble")["✕ ", h.strong["Would be refused"], f": {told['reason']}"],
            told["next_times"] and h.p["It could be: ", [[when(each, view.now), " "] for each in told["next_times"]]],
        ]
    return h.p(".waits")[
        "◔ ", h.strong["Would start "], when(told["eta"], view.now, "nobody knows when"), f": {told['reason']}"
    ]


def _said(content: h.Node) -> Screen:
    return Screen("Ahead", [Part("ahead", content)])


PAGES = (
    Page("/reserve", "Reserve", "reservations.write", reserve, menu=15, asks=Wish),
    Page(AHEAD, "Ahead", "reservations.write", reserve_ahead, asks=Wish, is_fragment=True),
)
