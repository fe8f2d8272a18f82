"""Pools: how many instances each node keeps of each, how many it may, and how busy they are."""

from typing import Any

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.pictures.bars import bar, sparkline
from pgfleet.console.web.look.tables import Column, filters, table, turning
from pgfleet.console.web.look.words import number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.nodes.pools import OfNode, list_pools
from pgfleet.schema.rows.row import Row

MOST_OF_NODE = 50
Days = dict[str, dict[str, list[float | None]]]


def pools(view: View) -> Screen:
    asked = view.call.asked(OfNode)
    found = list_pools(view.call).body
    empty = (
        ["None of this node. ", h.a(href=view.address)["Show all"]]
        if asked.node
        else "There are none yet: a node names its pools in its heartbeats, and then they are here."
    )
    columns = [
        *_named(),
        Column("Node", lambda row: h.a(href=f"/nodes/{row['node_id']}")[row["node_name"]]),
        *_figures(view),
        *_acts(view, f"{view.address}?node={asked.node}" if asked.node else view.address),
    ]
    return Screen(
        "Pools",
        [
            Part("ask", of_node(view, asked), is_live=False),
            Part("list", table(columns, found["items"], empty, "Pools"), is_live=False),
            Part("pages", turning(view.address, asked, found["next"]), is_live=False),
        ],
    )


def of_node(view: View, asked: OfNode) -> h.Node:
    field = h.input(name="node", type="number", min="1", value=str(asked.node or ""))
    return filters(view.address, h.label["Number of a node", field])


def pools_of(view: View, rows: list[Row], days: Days, node: int) -> h.Node:
    """A node's pools, with how each has been over the last day."""
    columns = [
        *_named(),
        *_figures(view),
        Column("Instances, 24 h", lambda row: _spark(days, row, "instances")),
        Column("CPU, 24 h", lambda row: _spark(days, row, "cpu", " %")),
        Column("Memory, 24 h", lambda row: _spark(days, row, "memory", " %")),
    ]
    empty = "It has none yet: it names its pools in its heartbeats, and then they are here."
    rest = f": there are more than these {MOST_OF_NODE}" if len(rows) > MOST_OF_NODE else ""
    return [
        h.h2["Pools"],
        table(columns, rows[:MOST_OF_NODE], empty, "Pools"),
        rows and h.p[h.a(href=f"/pools?node={node}")["Change their limits, switch one off"], rest],
    ]


def _named() -> list[Column]:
    return [
        Column(
            "Pool",
            lambda row: h.span[
                h.span(title=row["oracle_pool_id"])[row["name"]],
                not row["is_active"] and h.span(".dim")[" (off)" if row["switched_off"] else " (not active)"],
            ],
        ),
        Column("State", lambda row: state(row["status"] or "unknown")),
    ]


def _figures(view: View) -> list[Column]:
    return [
        Column("Instances", _instances),
        Column("May be", lambda row: f"{number(row['min_instances'])} to {number(row['max_instances'])}"),
        Column("Scheduled", lambda row: number(row["target_instances"]), is_number=True),
        Column("Reported", lambda row: when(row["last_reported_at"], view.now, "never")),
    ]


def _instances(row: Row) -> h.Node:
    """How much of what there may be is there, and how much of that works."""
    there, works, most = (row[name] or 0 for name in ("current_instances", "active_instances", "max_instances"))
    told = f"{number(there)} of at most {number(most)}, {number(works)} active"
    works = min(works, there)
    parts = [("held", works, f"{works} active"), ("free", there - works, f"{there - works} not active")]
    room = max(most - there, 0)
    return h.span(".of-most", title=told)[bar([*parts, ("room", room, f"{room} more may be")], told), number(there)]


def _spark(days: Days, row: Row, name: str, unit: str = "") -> h.Node:
    values = [value for value in days.get(row["oracle_pool_id"], {}).get(name, ()) if value is not None]
    if not values:
        return h.span(".dim")["–"]
    told = f"{min(values):,.0f} to {max(values):,.0f}{unit}, now {values[-1]:,.0f}{unit}"
    return h.span(".sparked", title=told)[sparkline(values, told), h.span(".dim")[f" {values[-1]:,.0f}{unit}"]]


def _acts(view: View, back: str) -> list[Column]:
    if not view.may("pools.write"):
        return []
    return [Column("", lambda row: _actions(view, row, back))]


def _actions(view: View, row: Row, back: str) -> h.Node:
    seen = tuple(row[name] for name in ("id", "name", "min_instances", "max_instances", "switched_off"))
    off = bool(row["switched_off"])

    def act(label: str, **more: Any) -> h.Node:
        return button(
            view, Act("change_pool", label, token("change_pool", *seen), {"id": str(row["id"])}, back=back, **more)
        )

    limits = [
        h.label["Name", h.input(name="name", maxlength="255", required=True, value=row["name"])],
        *(
            h.label[label, h.input(name=name, type="number", min="0", max="1000000", value=str(row[name] or 0))]
            for label, name in (("At least", "min_instances"), ("At most", "max_instances"))
        ),
    ]
    switch = h.input(type="hidden", name="is_active", value="on" if off else "off")
    return h.div(".actions")[
        act(
            "Change",
            fields=[limits, h.p(".dim")["A configuration that is made active later sets its limits anew."]],
            done="Changed.",
        ),
        act(
            "Switch on" if off else "Switch off",
            fields=switch,
            consequence=None if off else "It stays off, whatever its node reports, until somebody switches it on.",
            takes_reason=True,
            done=f"{row['name']} is {'on' if off else 'off'}.",
        ),
    ]


PAGES = (Page("/pools", "Pools", "pools.read", pools, asks=OfNode, under="/nodes"),)
