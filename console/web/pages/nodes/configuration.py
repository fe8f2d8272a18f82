"""What a node should run: the active configuration, what it had before, what differs line by line, and a new one."""

from typing import Annotated

import htpy as h
from pydantic import Field

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.lines import compared
from pgfleet.console.web.look.tables import Column, table
from pgfleet.console.web.look.words import number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoint import NotFoundError, Shape
from pgfleet.producers.http.endpoints.nodes.configurations import BIGGEST
from pgfleet.producers.http.endpoints.nodes.nodes import found
from pgfleet.schema.nodes import configurations
from pgfleet.schema.rows.row import Row

MOST = 50
FIRST = "pools:\n- instance_pool_id: ocid1.instancepool...\n  scaling_limits: {min: 1, max: 10}\n"
Number = Annotated[int, Field(ge=1, le=BIGGEST)]


class Compared(Shape):
    """Which two, by their ids: the active one is compared with `id`; `before` are the older ones of the history."""

    id: Number | None = None
    before: Number | None = None


def configuration(view: View) -> Screen:
    row, asked = found(view.call), view.call.asked(Compared)
    conn, node = view.having("configurations.read").conn, row["id"]
    rows = configurations.listing(conn, node, before=asked.before, most=MOST + 1)
    text = configurations.text_of(conn, node)
    other = None if asked.id is None else configurations.text_of(conn, node, asked.id)
    if asked.id is not None and other is None:
        raise NotFoundError(f"node {node} has no configuration {asked.id}")
    parts = [
        Part("state", _state(view, row, rows)),
        Part("difference", _difference(view, row, asked.id, text, other), is_live=False),
        Part("history", _history(view, row, rows, asked), is_live=False),
        Part("text", _text(text), is_live=False),
        Part("new", _new(view, row, text if other is None else other), is_live=False),
    ]
    return Screen(f"Configuration of {row['name']}", parts)


def _state(view: View, row: Row, rows: list[Row]) -> h.Node:
    """Whether the node runs what it should; where not, which one it runs."""
    back = h.p[h.a(href=f"/nodes/{row['id']}")["← ", row["name"]], " · ", state(row["status"])]
    expected, runs = row["expected_config_hash"], row["config_hash"]
    if expected is None:
        return [back, h.p["It has no configuration: what it runs is its own affair, and no drift."]]
    if row["last_heartbeat"] is None:
        return [back, h.p["◌ It has not reported in yet."]]
    if not row["drift"]:
        return [back, h.p(".good")["● It runs what it should: ", _hash(expected)]]
    known = next((each for each in rows if each["config_hash"] == runs), None)
    since = (known["activated_at"] or known["created_at"]) if known else None
    which: h.Node = (
        "a configuration that it does not name"
        if runs is None
        else [
            _hash(runs),
            ", ",
            [
                "its configuration ",
                _link(row, known["id"]),
                " of ",
                when(since, view.now),
            ]
            if known
            else "which is none that it was given here",
        ]
    )
    return [back, h.p(".waits")["≠ It drifts. It should run ", _hash(expected), ", and runs ", which, "."]]


def _hash(text: str) -> h.Element:
    return h.span(".hash", title=text)[text[:12]]


def _link(row: Row, number_of: int) -> h.Element:
    return h.a(href=f"/nodes/{row['id']}/configuration?id={number_of}")[f"#{number_of}"]


def _difference(view: View, row: Row, number_of: int | None, text: str | None, other: str | None) -> h.Node:
    if number_of is None or other is None:
        return None
    lines = h.p[h.a(href=view.address)["Show the active one alone"]]
    if other == text:
        return [h.h2[f"#{number_of} is the active one"], lines]
    return [
        h.h2[f"From the active one to #{number_of}"],
        compared(text or "", other),
        h.div(".actions")[_activate(view, row, number_of, row["expected_config_hash"])],
        lines,
    ]


def _activate(view: View, row: Row, number_of: int, active: str | None) -> h.Node:
    act = Act(
        "activate_configuration",
        "Make it active",
        token("activate_configuration", row["id"], number_of, active),
        {"id": str(row["id"]), "configuration": str(number_of)},
        consequence="The node is told to run it with its next heartbeat, and its pools get its limits at once.",
        takes_reason=True,
        back=view.address,
        done=f"#{number_of} is active.",
    )
    return None if row["deleted_at"] else button(view, act)


def _history(view: View, row: Row, rows: list[Row], asked: Compared) -> h.Node:
    shown = rows[:MOST]
    columns = [
        Column("Configuration", lambda each: _link(row, each["id"])),
        Column("Now", _now),
        Column("Hash", lambda each: _hash(each["config_hash"])),
        Column("Size", lambda each: number(each["bytes"], "byte")),
        Column("Made", lambda each: when(each["created_at"], view.now)),
        Column("Made active", lambda each: when(each["activated_at"], view.now, "–")),
        Column("By", lambda each: each["activated_by"]),
        Column("Limits of pools", lambda each: _limits(each["scaling_limits"])),
    ]
    empty = "It has had none. Write the first one below."
    older = len(rows) > MOST and h.p[h.a(href=f"{view.address}?before={shown[-1]['id']}")["Older ones →"]]
    newest = asked.before is not None and h.p[h.a(href=view.address)["The newest"]]
    return [h.h2["History"], table(columns, shown, empty, "Configurations"), newest, older]


def _now(each: Row) -> h.Node:
    """Whether it is the one to be run, and the one that the node says it runs."""
    if not each["is_active"] and not each["is_running"]:
        return None
    return h.span[each["is_active"] and state("active"), each["is_running"] and " ◆ runs"]


def _limits(limits: dict[str, dict[str, int]] | None) -> h.Node:
    told = [f"{name}: {of.get('min', '–')} to {of.get('max', '–')}" for name, of in (limits or {}).items()]
    return h.span(title="\n".join(told))[number(len(told), "pool")] if told else h.span(".dim")["none"]


def _text(text: str | None) -> h.Node:
    return None if text is None else [h.h2["The active one"], h.pre(".text", tabindex="0")[text]]


def _new(view: View, row: Row, text: str | None) -> h.Node:
    if row["deleted_at"]:
        return None
    field = h.textarea(name="yaml", rows="24", required=True, spellcheck="false", autocomplete="off")
    act = Act(
        "add_configuration",
        "Write a new one",
        token("add_configuration", row["id"], row["expected_config_hash"]),
        {"id": str(row["id"])},
        # A line break right after the tag is dropped by browsers.
        fields=h.label["YAML", field["\n" + (FIRST if text is None else text)]],
        consequence="It is active at once: the node is told to run it with its next heartbeat.",
        takes_reason=True,
        back=view.address,
        done="It is active. It drifts until the node says that it runs it.",
    )
    return button(view, act)


PAGES = (
    Page(
        "/nodes/{id}/configuration",
        "Configuration",
        "configurations.read",
        configuration,
        asks=Compared,
        machines=frozenset({"node"}),
        row="id",
    ),
)
