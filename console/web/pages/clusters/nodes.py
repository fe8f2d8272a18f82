"""A cluster's nodes: a grid by health, rows of those that need somebody first, and a page each."""

from typing import Literal

import htpy as h

from pgfleet.console.web.look.pictures.beats import grid, key
from pgfleet.console.web.look.tables import Column, table
from pgfleet.console.web.look.words import number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.console.web.pages.clusters.acting import of_node
from pgfleet.producers.http.endpoint import NotFoundError, Shape
from pgfleet.producers.http.endpoints.nodes.clusters import get_cluster_node
from pgfleet.schema.reads import cluster as reads
from pgfleet.schema.reads.pictures import clusters as pictures
from pgfleet.schema.rows.row import Row

How = Literal["healthy", "warning", "critical", "unknown", "offline", "error", "maintenance", "provisioning"]
HOW = ("healthy", "warning", "critical", "unknown", "offline", "error", "maintenance", "provisioning")
MOST_ROWS = 50


class Shown(Shape):
    """Which nodes: by their health where they are online, else by their status."""

    how: How | None = None


def nodes_of(view: View, row: Row, asked: Shown) -> h.Node:
    found = pictures.nodes(view.call.conn, row["cluster_id"], asked.how)
    of_all = found[0]["of_all"] if found else 0
    columns = [
        Column("Node", lambda each: h.span[_link(row, each), _leads(row, each["node_id"])]),
        Column("State", lambda each: state(each["status"])),
        Column("Health", lambda each: state(each["health_status"]) if each["status"] == "online" else "–"),
        Column("CPU", lambda each: percent(each["cpu_usage_percent"]), is_number=True),
        Column("Memory", lambda each: percent(each["memory_usage_percent"]), is_number=True),
        Column("Disk", lambda each: percent(each["disk_usage_percent"]), is_number=True),
        Column("Priority", lambda each: number(each["priority"]), is_number=True),
        Column("Last heartbeat", lambda each: when(each["last_heartbeat"], view.now, "never")),
        Column(
            "What it says", lambda each: each["error_message"] or (each["status"] != "online" and each["status_reason"])
        ),
    ]
    empty = (
        ["None fits this filter. ", h.a(href=view.address)["Show all"]]
        if asked.how
        else "It has none yet. Add one above: it gets a key, with which it reports in."
    )
    cells = [(each["how"], _address(row, each["node_id"]), f"{each['name']}: {each['how']}") for each in found]
    return [
        found and key([(how, how) for how in HOW if any(each["how"] == how for each in found)]),
        found and grid(cells, f"{number(len(found))} nodes by health"),
        table(columns, found[:MOST_ROWS], empty, "Nodes of the cluster"),
        of_all > MOST_ROWS
        and h.p(".dim")[
            f"The {MOST_ROWS} of {number(of_all, 'node')} that need somebody first; the grid has "
            f"{number(len(found))} of them."
        ],
    ]


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} %"


def _address(row: Row, node_id: str) -> str:
    return f"/clusters/{row['cluster_id']}/nodes/{node_id}"


def _link(row: Row, each: Row) -> h.Element:
    return h.a(href=_address(row, each["node_id"]), title=each["node_id"])[each["name"]]


def _leads(row: Row, node_id: str) -> h.Node:
    roles = [
        name
        for name in ("primary", "coordinator")
        if row[f"{name}_node_id"] is not None and row[f"{name}_node_id"] == node_id
    ]
    return h.strong[f" ★ {', '.join(roles)}"] if roles else None


def cluster_node(view: View) -> Screen:
    row = reads.by_id(view.call.conn, view.call.path["id"])
    if row is None:
        raise NotFoundError(f"there is no cluster {view.call.path['id'][:60]}")
    node = Row(get_cluster_node(view.call).body)
    return Screen(
        node["name"],
        [
            Part("state", _state(row, node)),
            Part("actions", lambda: of_node(view, row, node), is_live=False),
            Part("facts", _facts(node)),
        ],
    )


def _state(row: Row, node: Row) -> h.Node:
    online = node["status"] == "online"
    return [
        h.p[h.a(href=f"/clusters/{row['cluster_id']}")["← ", row["name"]]],
        h.p(".lead")[
            state(node["status"]),
            online and [" · ", state(node["health_status"])],
            _leads(row, node["node_id"]),
        ],
        node["error_message"] and h.p(".trouble")["▲ It reports: ", node["error_message"]],
        not online and node["status_reason"] and h.p(".dim")[node["status_reason"]],
    ]


def _facts(node: Row) -> h.Node:
    capacity = [
        f"{number(node[f'capacity_{name}'])} {unit}"
        for name, unit in (
            ("cpu", "CPU"),
            ("memory_gb", "GB memory"),
            ("storage_gb", "GB disk"),
            ("network_mbps", "Mbit/s"),
        )
        if node[f"capacity_{name}"] is not None
    ]
    used = [node[f"{name}_usage_percent"] for name in ("cpu", "memory", "disk")]
    is_told = any(each is not None for each in used)
    facts: list[tuple[str, h.Node]] = [
        ("Id", h.code[node["node_id"]]),
        ("CPU, memory, disk", ", ".join(map(percent, used)) if is_told else "not reported yet"),
        ("Load", node["load_average"] is not None and number(node["load_average"])),
        ("Roles", ", ".join(node["roles"])),
        ("Priority", number(node["priority"])),
        ("Capacity", ", ".join(capacity)),
        ("Region", ", ".join(filter(None, (node["region"], node["availability_zone"])))),
        ("Host", ", ".join(filter(None, (node["hostname"], node["ip_address"])))),
        ("Configuration", node["config_hash"] and h.span(".hash")[node["config_hash"][:12]]),
    ]
    return [h.h2["Facts"], h.dl(".facts")[((h.dt[name], h.dd[value]) for name, value in facts if value)]]


PAGES = (
    Page(
        "/clusters/{id}/nodes/{node}",
        "Node of a cluster",
        "clusters.read",
        cluster_node,
        machines=frozenset({"cluster", "cluster_node"}),
    ),
)
