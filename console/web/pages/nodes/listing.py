"""The fleet's nodes: by region as cells, and as a list, with the filter in the address."""

from urllib.parse import urlencode

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.links import to_page
from pgfleet.console.web.look.pictures.beats import grid, key
from pgfleet.console.web.look.tables import Column, choice, filters, table, turning, words
from pgfleet.console.web.look.words import lasting, number, state, when
from pgfleet.console.web.page import Page, Part, Screen, View
from pgfleet.producers.http.endpoints.nodes.nodes import NodeFilter, list_nodes
from pgfleet.schema.heartbeat import NodeStatus
from pgfleet.schema.reads import node as reads
from pgfleet.schema.reads.pictures import nodes as pictures
from pgfleet.schema.rows.row import Row

HOW = (
    ("heard", "heard"),
    ("late", "late (nothing for 2 min)"),
    ("error", "with an error"),
    ("silent", "offline"),
    ("never", "never seen"),
)
SIGNS = {"silent": "✕", "error": "▲", "late": "◔", "never": "◌"}


def nodes(view: View) -> Screen:
    asked = view.call.asked(NodeFilter)
    found = list_nodes(view.call).body
    return Screen(
        "Nodes",
        [
            Part("silence", _silence(view)),
            Part("also", _also()),
            Part("add", lambda: _add(view), is_live=False),
            Part("map", lambda: _map(view, asked), rests_s=1),
            Part("ask", lambda: _filters(view, asked), is_live=False),
            Part("list", _list(view, found["items"], is_filtered=asked != NodeFilter())),
            Part("pages", turning(view.address, asked, found["next"])),
        ],
    )


def _also() -> h.Node:
    return h.p(".also")[
        to_page("/pools", "All pools"),
        to_page("/schedules", "All schedules"),
        to_page("/clusters", "Clusters of nodes"),
    ]


def _silence(view: View) -> h.Node:
    """Why nobody is marked offline, where the sweep holds back."""
    sweep = reads.last_sweep(view.call.conn, "node")
    if sweep is None or not sweep["held_back"]:
        return None
    return h.p(".trouble")[
        f"▲ {number(sweep['silent'], 'node')} silent, and not marked offline ",
        h.span["since ", when(sweep["held_back_since"], view.now)],
        f": {sweep['held_back']}",
    ]


def _add(view: View) -> h.Node:
    act = Act(
        "create_node",
        "Add a node",
        token("create_node", view.username, f"{view.now:%Y-%m-%d %H}"),
        fields=naming(),
        back="/nodes",
    )
    return h.div(".actions")[button(view, act)]


def naming(row: Row | None = None) -> h.Node:
    """The fields of what is said of a node."""
    said = row or Row({})
    return [
        h.label["Name", h.input(name="name", required=True, maxlength="255", value=said.get("name") or "")],
        h.label["Region", h.input(name="region", required=True, maxlength="100", value=said.get("region") or "")],
        h.label["IP address", h.input(name="ip_address", maxlength="45", value=said.get("ip_address") or "")],
        h.label["Description", h.input(name="description", maxlength="1000", value=said.get("description") or "")],
    ]


def _map(view: View, asked: NodeFilter) -> h.Node:
    regions = pictures.regions(view.call.conn, asked.region)
    if not regions:
        return None
    cells = pictures.cells(view.call.conn, [row["region"] for row in regions])
    return [
        h.h2["By region"],
        key(HOW),
        h.ul(".regions")[(_region(row, cells[row["region"]]) for row in regions)],
        len(regions) == pictures.MOST_REGIONS and h.p(".dim")[f"These are the {len(regions)} that need most."],
    ]


def _region(row: Row, cells: list[Row]) -> h.Element:
    told = [
        f"{SIGNS[how]} {number(row[how])} {text.partition(' (')[0]}" for how, text in HOW if how in SIGNS and row[how]
    ]
    rest = row["total"] - len(cells)
    return h.li[
        h.h3[to_page("/nodes", row["region"], query_of(region=row["region"]))],
        h.p[
            h.strong[number(row["total"], "node")],
            f" · {', '.join(told)}" if told else h.span(".good")[" · ● all heard"],
            row["drifting"] > 0
            and [
                " · ",
                to_page(
                    "/nodes", f"≠ {number(row['drifting'])} drifting", query_of(region=row["region"], drift="true")
                ),
            ],
        ],
        grid(
            [(each["how"], f"/nodes/{each['id']}", f"{each['name']}: {_means(each['how'])}") for each in cells],
            f"Nodes of {row['region']}",
        ),
        rest > 0 and h.p(".dim")[f"and {number(rest)} more, like the last of these"],
    ]


def _means(how: str) -> str:
    return dict(HOW)[how]


def query_of(**given: str) -> str:
    return urlencode(given)


def _filters(view: View, asked: NodeFilter) -> h.Node:
    return [
        h.h2["List"],
        filters(
            view.address,
            words("name", "Name has", asked.name),
            choice("status", "State", list(NodeStatus), asked.status),
            choice("region", "Region", pictures.region_names(view.call.conn), asked.region),
            h.label(".tick")[h.input(type="checkbox", name="drift", value="true", checked=asked.drift), " drifting"],
            h.label(".tick")[
                h.input(type="checkbox", name="deleted", value="true", checked=asked.deleted), " removed, too"
            ],
        ),
    ]


def _list(view: View, rows: list[Row], *, is_filtered: bool) -> h.Node:
    columns = [
        Column("Node", lambda row: h.a(href=f"/nodes/{row['id']}")[row["name"]]),
        Column("State", lambda row: state("deleted" if row["deleted_at"] else row["status"])),
        Column("Region", lambda row: row["region"]),
        Column("Last heartbeat", lambda row: when(row["last_heartbeat"], view.now, "never")),
        Column("Pools", lambda row: number(len(row["pools"])), is_number=True),
        Column("Instances", lambda row: instances(row["pools"]), is_number=True),
        Column("Configuration", configured),
        Column("What it says", lambda row: row["error_message"] or row["status_reason"]),
    ]
    empty = (
        ["None fits this filter. ", h.a(href=view.address)["Show all"]]
        if is_filtered
        else [
            "There are no nodes yet. Add one above: it gets a key, with which it reports in. Or: ",
            h.code["pgfleet nodes add NAME --region REGION"],
        ]
    )
    return table(columns, rows, empty, "Nodes")


def instances(pools: list[Row]) -> str:
    return number(sum(each["current_instances"] or 0 for each in pools)) if pools else "–"


def configured(row: Row) -> h.Node:
    """Whether it runs what it should, and whether its clock does."""
    drift = row["drift"] and h.a(".waits", href=f"/nodes/{row['id']}/configuration")["≠ drifts"]
    clock = row["clock_is_off"] and h.span(".waits")[f" clock {skewed(row['skew_s'])}"]
    if drift or clock:
        return h.span[drift, clock]
    return h.span(".dim")["as it should" if row["expected_config_hash"] else "none"]


def skewed(skew_s: float) -> str:
    """As people say it: it is behind where the difference is above 0."""
    return f"{lasting(abs(skew_s))} {'behind' if skew_s > 0 else 'ahead'}"


PAGES = (
    Page("/nodes", "Nodes", "nodes.read", nodes, menu=50, asks=NodeFilter, machines=frozenset({"node"}), every_s=5),
)
