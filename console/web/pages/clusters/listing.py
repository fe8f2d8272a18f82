"""Clusters, those first that are worst, with their health over a day."""

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.pictures.bars import bar, sparkline
from pgfleet.console.web.look.tables import Column, choice, filters, table, words
from pgfleet.console.web.look.words import number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoint import Shape
from pgfleet.producers.http.shapes.clusters import Line
from pgfleet.schema.heartbeat import ClusterStatus
from pgfleet.schema.reads import cluster as reads
from pgfleet.schema.reads import node as nodes
from pgfleet.schema.reads.pictures import clusters as pictures
from pgfleet.schema.rows.row import Row

TEMPLATES = ("development", "staging", "production")
HEALTH = ("healthy", "warning", "critical", "offline")


class Chosen(Shape):
    """Which clusters; those that were taken out of use only with `ended`, or by their status."""

    name: Line | None = None
    status: ClusterStatus | None = None
    ended: bool = False


def clusters(view: View) -> Screen:
    asked = view.call.asked(Chosen)
    rows = reads.by_score(view.call.conn, asked.name, asked.status, ended_too=asked.ended)
    return Screen(
        "Clusters",
        [
            Part("silence", _silence(view)),
            Part("add", lambda: h.div(".actions")[_create(view)], is_live=False),
            Part("ask", lambda: _filters(view, asked), is_live=False),
            Part("list", _list(view, rows, is_filtered=asked != Chosen())),
        ],
    )


def _silence(view: View) -> h.Node:
    sweep = nodes.last_sweep(view.call.conn, "cluster_node")
    if sweep is None or not sweep["held_back"]:
        return None
    return h.p(".trouble")[
        f"▲ {number(sweep['silent'], 'cluster node')} silent, and not marked offline: {sweep['held_back']}"
    ]


def _create(view: View) -> h.Node:
    limits = [
        h.label[label, h.input(name=name, type="number", min="1", max="1000000000", placeholder="the template's")]
        for label, name in (("Most nodes", "max_nodes"), ("Most tenants", "max_tenants"), ("Most GB", "max_storage_gb"))
    ]
    act = Act(
        "create_cluster",
        "Make a cluster",
        token("create_cluster", view.username, f"{view.now:%Y-%m-%d %H:%M}"),
        fields=[
            h.label["Name", h.input(name="name", required=True, maxlength="255")],
            h.label["Region", h.input(name="region", maxlength="255")],
            h.label["Description", h.input(name="description", maxlength="1000")],
            h.label["Template", h.select(name="template")[(h.option[each] for each in TEMPLATES)]],
            limits,
        ],
        back="/clusters",
        done="Made. It begins with its first node.",
    )
    return button(view, act)


def _filters(view: View, asked: Chosen) -> h.Node:
    return filters(
        view.address,
        words("name", "Name has", asked.name),
        choice("status", "State", list(ClusterStatus), asked.status),
        h.label(".tick")[h.input(type="checkbox", name="ended", value="true", checked=asked.ended), " out of use, too"],
    )


def _list(view: View, rows: list[Row], *, is_filtered: bool) -> h.Node:
    scores = pictures.scores(view.call.conn, [row["cluster_id"] for row in rows])
    columns = [
        Column("Cluster", lambda row: h.a(href=f"/clusters/{row['cluster_id']}", title=row["cluster_id"])[row["name"]]),
        Column("Health", score, is_number=True),
        Column("24 h", lambda row: _day(scores[row["cluster_id"]])),
        Column("State", lambda row: state(row["status"])),
        Column("Nodes", health_bar),
        Column("Primary", _primary),
        Column("Epoch", lambda row: number(row["epoch"]), is_number=True),
        Column("Region", lambda row: row["region"]),
        Column("Since", lambda row: when(row["status_since"], view.now)),
    ]
    empty = (
        ["None fits this filter. ", h.a(href=view.address)["Show all"]]
        if is_filtered
        else "There are none yet. Make one above, then add its nodes: each gets a key, with which it reports in."
    )
    return [
        table(columns, rows, empty, "Clusters"),
        len(rows) == reads.MOST
        and h.p(".dim")[f"These are the {number(len(rows))} that are worst: filter for others."],
    ]


def score(row: Row) -> h.Node:
    """0 to 100, with its colour; a cluster without nodes has none."""
    if not row["total_nodes"]:
        return h.span(".dim")["no nodes"]
    tone = "good" if row["health_score"] >= 0.9 else "waits" if row["health_score"] >= 0.7 else "trouble"
    return h.strong(class_=tone, title=f"score {row['health_score']:.2f}")[f"{100 * row['health_score']:.0f} %"]


def _day(scores: list[float]) -> h.Node:
    return sparkline(scores, f"Health in the last 24 h: {min(scores):.2f} to {max(scores):.2f}") if scores else "–"


def _primary(row: Row) -> h.Node:
    if row["leaderless"]:
        return h.span(".trouble")["✕ nobody can lead"]
    return row["primary_name"] or h.span(".dim")["none yet"]


def health_bar(row: Row) -> h.Node:
    """How many of its nodes are how."""
    others = max(row["total_nodes"] - sum(row[f"{how}_nodes"] for how in HEALTH), 0)
    counts = [(how, row[f"{how}_nodes"]) for how in HEALTH] + [("unknown", others)]
    told = ", ".join(f"{many} {how}" for how, many in counts if many) or "none"
    return h.span(".of-most", title=told)[
        bar([(how, many, f"{many} {how}") for how, many in counts], told),
        f"{number(row['online_nodes'])} of {number(row['total_nodes'])} online",
    ]


PAGES = (
    Page(
        "/clusters",
        "Clusters",
        "clusters.read",
        clusters,
        menu=55,
        asks=Chosen,
        machines=frozenset({"cluster", "cluster_node"}),
    ),
)
