"""What may be done with a cluster and its nodes; each is refused where the cluster has changed its leader meanwhile."""

from typing import Any

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.words import number
from pgfleet.console.web.page import Page, View
from pgfleet.schema.rows.row import Row

CAPACITIES = (
    ("CPUs", "capacity_cpu"),
    ("Memory, GB", "capacity_memory_gb"),
    ("Disk, GB", "capacity_storage_gb"),
    ("Network, Mbit/s", "capacity_network_mbps"),
)
STATES = ("online", "offline", "maintenance", "error")


def of_cluster(view: View, row: Row) -> h.Node:
    if row["status"] == "decommissioning":
        return h.p(".dim")["It is out of use for good."]
    return h.div(".actions")[_add(view, row), _decommission(view, row)]


def _epoch(row: Row) -> h.Node:
    """What is shown is of this epoch: under another one, what is pressed is refused."""
    return h.input(type="hidden", name="epoch", value=str(row["epoch"]))


def _add(view: View, row: Row) -> h.Node:
    here = f"/clusters/{row['cluster_id']}"
    act = Act(
        "add_cluster_node",
        "Add a node",
        token("add_cluster_node", row["cluster_id"], row["total_nodes"], f"{view.now:%Y-%m-%d %H}"),
        {"id": row["cluster_id"]},
        fields=h.div(".grid-form")[
            h.label["Name", h.input(name="name", required=True, maxlength="255")],
            h.label["Priority", h.input(name="priority", type="number", min="0", max="1000000", value="50")],
            h.label["Region", h.input(name="region", maxlength="255")],
            h.label["Zone", h.input(name="availability_zone", maxlength="255")],
            h.label["Hostname", h.input(name="hostname", maxlength="255")],
            h.label["IP address", h.input(name="ip_address", maxlength="255")],
            (h.label[label, h.input(name=name, type="number", min="0.001", step="any")] for label, name in CAPACITIES),
            h.label["Roles, apart by spaces", h.input(name="roles", maxlength="500", value="worker")],
        ],
        back=here,
    )
    return button(view, act)


def _decommission(view: View, row: Row) -> h.Node:
    total = row["total_nodes"]
    act = Act(
        "decommission_cluster",
        "Decommission",
        token("decommission_cluster", row["cluster_id"], row["epoch"], total),
        {"id": row["cluster_id"]},
        fields=[
            _epoch(row),
            h.label(".tick")[
                h.input(type="checkbox", name="force"),
                f" with the {number(total, 'node')} and the tenants that it has",
            ],
        ],
        consequence=f"{row['name']} is taken out of use for good: nobody leads it, and no node of it reports in"
        " any more. This can't be undone.",
        takes_reason=True,
        is_danger=True,
        back="/clusters",
        done=f"{row['name']} is out of use.",
    )
    return button(view, act)


def of_node(view: View, row: Row, node: Row) -> h.Node:
    if node["status"] == "decommissioning":
        return None
    return h.div(".actions")[_promote(view, row, node), _set_state(view, row, node), _keys(view, row, node)]


def _path(row: Row, node: Row) -> dict[str, str]:
    return {"id": row["cluster_id"], "node": node["node_id"]}


def _promote(view: View, row: Row, node: Row) -> h.Node:
    if node["node_id"] == row["primary_node_id"] and not row["leaderless"]:
        return h.p(".dim")["It leads already."]
    if node["status"] != "online" or node["health_status"] == "critical":
        return h.p(".dim")["It can't lead: only a node that is online and not critical can."]
    before = row["primary_name"] or "nobody"
    act = Act(
        "promote_cluster_node",
        "Promote",
        token("promote_cluster_node", node["node_id"], row["epoch"]),
        _path(row, node),
        fields=_epoch(row),
        consequence=f"{node['name']} leads {row['name']} instead of {before}, under epoch {row['epoch'] + 1}:"
        f" what {before} still writes under epoch {row['epoch']} is refused.",
        takes_reason=True,
        back=f"/clusters/{row['cluster_id']}",
        done=f"{node['name']} is primary.",
    )
    return button(view, act)


def _set_state(view: View, row: Row, node: Row) -> h.Node:
    def act(label: str, fields: h.Node, **more: Any) -> h.Node:
        once = token("update_cluster_node", node["node_id"], node["status"], node["status_since"])
        here = view.address
        return button(
            view,
            Act("update_cluster_node", label, once, _path(row, node), fields=[_epoch(row), fields], back=here, **more),
        )

    leave = "It can't lead meanwhile; where it does, another node takes over." if node["status"] == "online" else ""
    options = [h.option[each] for each in STATES if each != node["status"]]
    return [
        act(
            "Set its state",
            [h.label["State", h.select(name="status")[options]], leave and h.p(".dim")[leave]],
            takes_reason=True,
            done="Set.",
        ),
        act(
            "Take it away",
            h.input(type="hidden", name="status", value="decommissioning"),
            consequence=f"{node['name']} leaves {row['name']} for good, and its keys end. This can't be undone.",
            takes_reason=True,
            is_danger=True,
            done=f"{node['name']} was taken away.",
        ),
    ]


def _keys(view: View, row: Row, node: Row) -> h.Node:
    act = Act(
        "rotate_node_key",
        "New key",
        token("rotate_node_key", node["node_id"], f"{view.now:%Y-%m-%d %H:%M}"),
        {"id": node["node_id"]},
        consequence="The new key is shown once. The keys it has now stay valid for an hour.",
        takes_reason=True,
        back=f"/clusters/{row['cluster_id']}/nodes/{node['node_id']}",
    )
    return button(view, act)


# It has no page of its own.
PAGES: tuple[Page, ...] = ()
