"""Schedules: how many instances the pools of a node shall have between two times of the day."""

from typing import Any

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.tables import Column, table, turning
from pgfleet.console.web.look.words import number
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.pools import of_node
from pgfleet.producers.http.endpoints.nodes.pools import OfNode, list_schedules
from pgfleet.schema.rows.row import Row

MINUTES = 24 * 60
FIRST = "There are none. A schedule says how many instances a node's pools shall have between two times of the day."


def schedules(view: View) -> Screen:
    asked = view.call.asked(OfNode)
    found = list_schedules(view.call).body
    node = Column("Node", lambda row: h.a(href=f"/nodes/{row['node_id']}")[row["node_name"]])
    columns = _columns(view, view.address)
    return Screen(
        "Schedules",
        [
            Part("ask", of_node(view, asked), is_live=False),
            Part("list", table([columns[0], node, *columns[1:]], found["items"], FIRST, "Schedules"), is_live=False),
            Part("pages", turning(view.address, asked, found["next"]), is_live=False),
            Part("add", _add(view, asked.node, view.address), is_live=False),
        ],
    )


def schedules_of(view: View, rows: list[Row], node: int) -> h.Node:
    """A node's schedules, and the way to another one."""
    back = f"/nodes/{node}"
    return [h.h2["Schedules"], table(_columns(view, back), rows, FIRST, "Schedules"), _add(view, node, back)]


def _columns(view: View, back: str) -> list[Column]:
    columns = [
        Column("Schedule", lambda row: h.span[row["name"], not row["is_active"] and h.span(".dim")[" (off)"]]),
        Column("From (UTC)", lambda row: row["start_time"]),
        Column("Until (UTC)", lambda row: row["end_time"]),
        Column("In a day", _day),
        Column("Instances", lambda row: number(row["target_instances"]), is_number=True),
    ]
    if view.may("schedules.write"):
        columns.append(Column("", lambda row: _actions(view, row, back)))
    return columns


def _day(row: Row) -> h.Node:
    """Where in the day it is: twice where it spans midnight, and the whole day where both times are one."""
    begin, end = (_minute(row[name]) for name in ("start_time", "end_time"))
    spans = [(begin, end)] if begin < end else [(0, end), (begin, MINUTES)] if begin > end else [(0, MINUTES)]
    told = f"{row['start_time']} to {row['end_time']} UTC" if begin != end else "all day"
    return h.svg(".day", viewBox=f"0 0 {MINUTES} 12", preserveAspectRatio="none", role="img", aria_label=told)[
        (
            h.rect(class_="day-on" if row["is_active"] else "day-off", x=str(a), y="0", width=str(b - a), height="12")
            for a, b in spans
        )
    ]


def _minute(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def _fields(row: Row | None) -> h.Node:
    said = row or Row({})

    def time(name: str, label: str) -> h.Element:
        return h.label[label, h.input(name=name, type="time", required=True, value=said.get(name) or "")]

    target = said.get("target_instances")
    return [
        h.label["Name", h.input(name="name", required=True, maxlength="255", value=said.get("name") or "")],
        time("start_time", "From (UTC)"),
        time("end_time", "Until (UTC)"),
        h.label[
            "Instances",
            h.input(
                name="target_instances",
                type="number",
                min="0",
                max="1000000",
                required=True,
                value="" if target is None else str(target),
            ),
        ],
        h.p(".dim")["An end before its start spans midnight; of two at once the larger counts."],
    ]


def _add(view: View, node: int | None, back: str) -> h.Node:
    of = (
        h.input(type="hidden", name="node_id", value=str(node))
        if node
        else h.label["Of the node with the number", h.input(name="node_id", type="number", min="1", required=True)]
    )
    # Two people may make the same; the same person, pressing twice, makes one.
    once = token("create_schedule", view.username, f"{view.now:%Y-%m-%d %H:%M}")
    act = Act(
        "create_schedule",
        "Add a schedule",
        once,
        fields=[of, _fields(None)],
        back=back,
        done="Made: its node's pools follow it within a minute.",
    )
    return h.div(".actions")[button(view, act)]


def _actions(view: View, row: Row, back: str) -> h.Node:
    seen = tuple(row[name] for name in ("id", "name", "start_time", "end_time", "target_instances", "is_active"))
    path, on = {"id": str(row["id"])}, bool(row["is_active"])

    def act(operation: str, label: str, **more: Any) -> h.Node:
        return button(view, Act(operation, label, token(operation, *seen), path, back=back, **more))

    return h.div(".actions")[
        act("change_schedule", "Edit", fields=_fields(row), done="Changed."),
        act(
            "change_schedule",
            "Switch off" if on else "Switch on",
            fields=h.input(type="hidden", name="is_active", value="off" if on else "on"),
            done=f"{row['name']} is {'off' if on else 'on'}.",
        ),
        act(
            "remove_schedule",
            "Delete",
            consequence="What it asks for is gone within a minute. This can't be undone.",
            is_danger=True,
            done=f"{row['name']} was deleted.",
        ),
    ]


PAGES = (Page("/schedules", "Schedules", "schedules.read", schedules, asks=OfNode, under="/nodes"),)
