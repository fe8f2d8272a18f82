"""One cluster: its health and who leads it, its nodes, who would lead next, what happened, and what may be done."""

from datetime import timedelta
from typing import Any

import htpy as h

from pgfleet.console.web.look.pictures.plot import Scale, plot
from pgfleet.console.web.look.tables import Column, choice, filters, table
from pgfleet.console.web.look.words import number, since, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.clusters.acting import of_cluster
from pgfleet.console.web.pages.clusters.listing import health_bar, score
from pgfleet.console.web.pages.clusters.nodes import HOW, Shown, nodes_of
from pgfleet.producers.http.endpoint import NotFoundError
from pgfleet.schema.reads import cluster as reads
from pgfleet.schema.reads.pages.cluster import events
from pgfleet.schema.reads.pages.keyset import Wanted
from pgfleet.schema.reads.pictures import clusters as pictures
from pgfleet.schema.reads.pictures.figures import over_time
from pgfleet.schema.rows.row import Row

DAY, FIVE, HALF = timedelta(days=1), timedelta(minutes=5), timedelta(minutes=30)
EVENTS = 20
SEVERITIES = {"critical": "✕", "error": "✕", "warning": "▲", "info": "·", "debug": "·"}
TROUBLES = ("critical", "error", "warning")
PERCENT = Scale("%", 0, 100)


def cluster(view: View) -> Screen:
    row = reads.by_id(view.call.conn, view.call.path["id"])
    if row is None:
        raise NotFoundError(f"there is no cluster {view.call.path['id'][:60]}")
    asked = view.call.asked(Shown)
    conn, cluster_id = view.call.conn, row["cluster_id"]
    successors = pictures.successors(conn, cluster_id)
    return Screen(
        row["name"],
        [
            Part("state", _state(view, row)),
            Part("actions", lambda: of_cluster(view, row), is_live=False),
            Part("recommendations", _recommendations(reads.recommendations(conn, cluster_id))),
            Part("health", _health(view, row)),
            Part("leading", _leading(row, successors)),
            Part("which", lambda: _filters(view, asked), is_live=False),
            Part("nodes", nodes_of(view, row, asked)),
            Part("measured", _measured(view, cluster_id)),
            Part("events", _events(view, cluster_id)),
        ],
    )


def _state(view: View, row: Row) -> h.Node:
    region = row["region"] and f" · {row['region']}"
    return [
        h.p(".lead")[state(row["status"]), " ", since(row["status_since"], view.now), " · health ", score(row), region],
        row["status_reason"] and h.p(".dim")[row["status_reason"]],
        row["operator_status"] and h.p(".waits")["◫ An operator set this state: health leaves it alone."],
        row["leaderless"] and h.p(".trouble")["✕ Its primary can't lead, and nobody else can."],
        h.p(".dim")[h.code[row["cluster_id"]], f" · at most {number(row['max_nodes'], 'node')}"],
        health_bar(row),
    ]


def _recommendations(advice: list[str]) -> h.Node:
    if not advice:
        return None
    shown = advice[:20]
    rest = len(advice) - len(shown)
    return [
        h.h2["What to do"],
        h.ul(".needs")[(h.li["▲ ", each] for each in shown)],
        rest > 0 and h.p(".dim")[f"and {number(rest)} more"],
    ]


def _health(view: View, row: Row) -> h.Node:
    """The score every five minutes; the last of them is how it is now."""
    end = view.now.replace(second=0, microsecond=0) - timedelta(minutes=view.now.minute % 5) + FIVE
    places = int(DAY / FIVE)
    series: list[float | None] = [None] * places
    for each in over_time(view.call.conn, "cluster_score", row["cluster_id"], DAY):
        place = int((each["at"] - (end - DAY)) / FIVE)
        if 0 <= place < places:
            series[place] = 100 * each["value"]
    if row["total_nodes"]:
        series[-1] = 100 * row["health_score"]
    return [h.h2["Health"], plot("Health score over 24 h", series, end, FIVE, PERCENT)]


def _leading(row: Row, successors: list[Row]) -> h.Node:
    """Who leads, and who would: the first of those that could, whoever fails."""
    leads = row["primary_node_id"]
    after = [each for each in successors if each["node_id"] != leads]
    facts = [
        ("Primary", _leader(row["primary_name"], leads)),
        ("Coordinator", _leader(row["coordinator_name"], row["coordinator_node_id"])),
        ("Epoch", h.span(title="It grows with every change of a leader; who writes under an older one is refused")[
            number(row["epoch"])
        ]),
    ]  # fmt: skip
    columns = [
        Column("If it fails", lambda each: h.span[_turn(after.index(each)), " ", h.strong[each["name"]]]),
        Column("Priority", lambda each: number(each["priority"]), is_number=True),
        Column("Health", lambda each: state(each["health_status"])),
    ]
    nobody = (
        "Nobody could take over: no other node is online and not critical." if leads else "It has no node online yet."
    )
    return [
        h.h2["Who leads"],
        h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts)],
        h.h3["Failover plan"],
        table(columns, after, nobody, "Failover plan"),
        after and h.p(".dim")["By priority, then health, then id. It happens by itself, once, under the next epoch."],
    ]


def _turn(place: int) -> str:
    return "next:" if place == 0 else f"then ({place + 1}):"


def _leader(name: str | None, node_id: str | None) -> h.Node:
    return h.span(title=node_id)[name] if name else h.span(".dim")["none"]


def _filters(view: View, asked: Shown) -> h.Node:
    return [h.h2["Nodes"], filters(view.address, choice("how", "Health", HOW, asked.how))]


def _measured(view: View, cluster_id: str) -> h.Node:
    found = pictures.measured(view.call.conn, cluster_id)
    end = view.now.replace(minute=view.now.minute // 30 * 30, second=0, microsecond=0) + HALF
    if not any(value is not None for series in found.values() for value in series):
        return [
            h.h2["Measured in the last 24 h"],
            h.p(".empty")["Nothing yet: its nodes' heartbeats say how busy they are."],
        ]
    plots = [("CPU", "cpu", PERCENT), ("Memory", "memory", PERCENT), ("Disk", "disk", PERCENT)]
    return [
        h.h2["Measured in the last 24 h, on average of its nodes"],
        h.div(".plots")[
            (plot(title, found[name], end, HALF, scale) for title, name, scale in plots),
            plot("Load", found["load"], end, HALF, Scale("", 0)),
        ],
    ]


def _events(view: View, cluster_id: str) -> h.Node:
    columns = [
        Column("When", lambda each: when(each["created_at"], view.now)),
        Column("What", _event),
        Column("Message", lambda each: each["message"]),
        Column("Epoch", lambda each: number(each["epoch"]), is_number=True),
        Column("By", lambda each: each["triggered_by"]),
    ]
    rows = events(view.call.conn, cluster_id, None, Wanted(most=EVENTS)).rows
    return [h.h2["Events"], table(columns, rows, "Nothing has happened yet.", "Events")]


def _event(each: Any) -> h.Node:
    tone = "trouble" if each["severity"] in TROUBLES else "dim"
    return h.span[
        h.span(class_=tone, title=each["severity"])[SEVERITIES[each["severity"]]],
        " ",
        each["event_type"].replace("_", " ").lower(),
    ]


PAGES = (
    Page(
        "/clusters/{id}",
        "Cluster",
        "clusters.read",
        cluster,
        asks=Shown,
        machines=frozenset({"cluster", "cluster_node"}),
    ),
)
