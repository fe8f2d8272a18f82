"""One node: how it is heard, what it measures, its pools and schedules, what became of it, and what may be done."""

from datetime import timedelta
from typing import Any

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.pictures.beats import key, strip
from pgfleet.console.web.look.pictures.plot import Scale, plot
from pgfleet.console.web.look.tables import Column, table
from pgfleet.console.web.look.words import number, since, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.nodes.listing import naming, skewed
from pgfleet.console.web.pages.pools import MOST_OF_NODE, pools_of
from pgfleet.console.web.pages.schedules import schedules_of
from pgfleet.producers.http.endpoints.nodes.nodes import found
from pgfleet.schema.nodes import listing
from pgfleet.schema.reads.pictures import nodes as pictures
from pgfleet.schema.rows.row import Row

QUARTER = timedelta(minutes=15)
STRIP = (("heard", "heard"), ("error", "an error was reported"), ("quiet", "nothing was heard"))
UNITS = {"percent": Scale("%", 0, 100), "count": Scale(), "seconds": Scale("s"), "milliseconds": Scale("ms")}


def node(view: View) -> Screen:
    row = found(view.call)
    conn, number_of = view.call.conn, row["id"]
    pools = listing.pools(conn, number_of, most=MOST_OF_NODE + 1)
    return Screen(
        row["name"],
        [
            Part("state", _state(view, row)),
            Part("actions", lambda: _actions(view, row), is_live=False),
            Part("heartbeats", _heartbeats(view, number_of)),
            Part("metrics", _metrics(view, number_of)),
            Part("pools", pools_of(view, pools, pictures.pools(conn, number_of, MOST_OF_NODE), number_of)),
            Part("schedules", lambda: schedules_of(view, listing.schedules(conn, number_of), number_of), is_live=False),
            Part("facts", _facts(view, row)),
            Part("lifecycle", _lifecycle(view, number_of)),
        ],
    )


def _state(view: View, row: Row) -> h.Node:
    here = f"/nodes/{row['id']}/configuration"
    return [
        h.p(".lead")[
            state("deleted" if row["deleted_at"] else row["status"]),
            " ",
            when(row["deleted_at"], view.now) if row["deleted_at"] else since(row["status_since"], view.now),
            f" · {row['region']} · last heartbeat ",
            when(row["last_heartbeat"], view.now, "never"),
        ],
        row["error_message"] and h.p(".trouble")["▲ It reports: ", row["error_message"]],
        row["status_reason"] and h.p(".dim")[row["status_reason"]],
        row["clock_is_off"] and h.p(".waits")[f"◔ Its clock is {skewed(row['skew_s'])}."],
        row["drift"]
        and h.p(".waits")[
            "≠ It runs another configuration than it should. ", h.a(href=here)["See which, and what differs"]
        ],
        row["last_heartbeat"] is None and not row["deleted_at"] and _first_steps(row),
    ]


def _first_steps(row: Row) -> h.Node:
    return h.p(".empty")[
        "It has not reported in yet. With its key, it sends its first heartbeat so: ",
        h.code[
            f"curl -H 'X-API-Key: KEY' -H 'Content-Type: application/json' -d '{{\"status\": \"ok\"}}'"
            f" ADDRESS/v1/nodes/{row['id']}/heartbeat"
        ],
    ]


def _actions(view: View, row: Row) -> h.Node:
    if row["deleted_at"]:
        return None
    path, here = {"id": str(row["id"])}, f"/nodes/{row['id']}"

    def act(operation: str, label: str, *seen: Any, **more: Any) -> h.Node:
        return button(view, Act(operation, label, token(operation, row["id"], *seen), path, **{"back": here, **more}))

    said = (row["name"], row["region"], row["ip_address"], row["description"])
    this_minute = f"{view.now:%Y-%m-%d %H:%M}"
    return h.div(".actions")[
        h.a(".button", href=f"{here}/configuration")["Configuration"],
        act("change_node", "Change", *said, fields=naming(row), done="Changed."),
        act(
            "rotate_node_key",
            "New key",
            this_minute,
            consequence="The new key is shown once. The keys it has now stay valid for an hour.",
            takes_reason=True,
        ),
        act(
            "revoke_node_keys",
            "End all keys",
            this_minute,
            consequence="It can't report in from now on, until it gets a new key; then it goes offline.",
            takes_reason=True,
            is_danger=True,
            done="All its keys have ended.",
        ),
        act(
            "remove_node",
            "Remove",
            consequence=f"{row['name']} leaves the fleet, its keys end, and no heartbeat brings it back."
            " Its history stays. This can't be undone.",
            takes_reason=True,
            is_danger=True,
            back="/nodes",
            done=f"{row['name']} was removed.",
        ),
    ]


def _heartbeats(view: View, node_id: int) -> h.Node:
    beats = pictures.heard(view.call.conn, node_id)
    begin = _end(view) - QUARTER * len(beats)
    cells = [
        (
            "quiet" if not heard else "error" if errors else "heard",
            f"{begin + QUARTER * place:%H:%M} UTC: {number(heard, 'heartbeat')}"
            + (f", {errors} with an error" if errors else ""),
        )
        for place, (heard, errors) in enumerate(beats)
    ]
    total, quiet = sum(heard for heard, _ in beats), sum(1 for heard, _ in beats if not heard)
    told = f"{number(total, 'heartbeat')} in 24 h" + (
        f"; nothing in {number(quiet, 'quarter')} of an hour of 96" if quiet else "; in each quarter of an hour"
    )
    return [
        h.h2["Heartbeats of the last 24 h"],
        key(STRIP),
        strip(cells, told),
        h.p(".dim")[told, "."],
    ]


def _end(view: View) -> Any:
    """Of the quarter of an hour that it is now."""
    passed = timedelta(minutes=view.now.minute % 15, seconds=view.now.second, microseconds=view.now.microsecond)
    return view.now - passed + QUARTER


def _metrics(view: View, node_id: int) -> h.Node:
    metrics = pictures.metrics(view.call.conn, node_id)
    if not metrics:
        return [
            h.h2["Measured"],
            h.p(".empty")[
                "It has measured nothing in the last day: ", h.code["metrics"], " of a heartbeat shows here."
            ],
        ]
    return [
        h.h2["Measured in the last 24 h"],
        h.div(".plots")[
            (
                plot(
                    name.removesuffix("_percent").replace("_", " "),
                    series,
                    _end(view),
                    QUARTER,
                    UNITS.get(unit, Scale(unit)),
                )
                for name, (unit, series) in metrics.items()
            )
        ],
        len(metrics) == pictures.MOST_METRICS and h.p(".dim")[f"The first {len(metrics)} of what it measures."],
    ]


def _facts(view: View, row: Row) -> h.Node:
    facts: list[tuple[str, h.Node]] = [
        ("Number", h.code[str(row["id"])]),
        ("IP address", row["ip_address"]),
        ("Description", row["description"]),
        ("Made", row["created_at"] and when(row["created_at"], view.now)),
        ("Clock", None if row["skew_s"] is None else skewed(row["skew_s"])),
        ("Should run", row["expected_config_hash"] and h.span(".hash")[row["expected_config_hash"][:12]]),
        ("Runs", row["config_hash"] and h.span(".hash")[row["config_hash"][:12]]),
    ]
    return [h.h2["Facts"], h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts if value)]]


def _lifecycle(view: View, node_id: int) -> h.Node:
    columns = [
        Column("When", lambda each: when(each["at"], view.now)),
        Column("What", lambda each: each["event_type"].replace("_", " ").lower()),
        Column("State", lambda each: h.span[(each["previous_status"] or "").lower(), " → ", state(each["new_status"])]),
        Column("Why", lambda each: each["reason"]),
        Column("By", lambda each: each["triggered_by"]),
    ]
    rows = pictures.lifecycle(view.call.conn, node_id)
    return [h.h2["Lifecycle"], table(columns, rows, "Its state has not changed yet.", "Lifecycle")]


PAGES = (Page("/nodes/{id}", "Node", "nodes.read", node, machines=frozenset({"node"}), row="id"),)
