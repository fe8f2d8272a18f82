"""`/v1/clusters`: clusters of nodes and what document 004's functions do with them; reading leaves no event."""

from typing import Any

from pydantic import BaseModel

from pgfleet.producers.http.endpoint import Answer, Audit, Call, Endpoint, NotFoundError
from pgfleet.producers.http.endpoints.nodes.nodes import changes_in
from pgfleet.producers.http.paging import paged
from pgfleet.producers.http.sending import said
from pgfleet.producers.http.shapes.clusters import (
    Cluster,
    ClusterEvent,
    ClusterFilter,
    ClusterNode,
    ClusterWhole,
    Decommissioned,
    Ending,
    EventsFilter,
    HealthSummary,
    Known,
    MadeClusterNode,
    Measured,
    MetricsFilter,
    NewCluster,
    NewClusterNode,
    NewMetrics,
    NodeReport,
    Promoted,
    Recorded,
)
from pgfleet.producers.http.shapes.shown import Page
from pgfleet.schema.errors import Refusal
from pgfleet.schema.nodes import keys, writes
from pgfleet.schema.reads import cluster as reads
from pgfleet.schema.reads.pages import cluster as pages
from pgfleet.schema.rows.row import Row

PATH = "/v1/clusters"
ONE = f"{PATH}/{{id}}"
NODES = f"{ONE}/nodes"
NODE = f"{NODES}/{{node}}"
READ, WRITE = "clusters.read", "clusters.write"


def _found(call: Call) -> Row:
    """The cluster that the path names, by its id or name or a beginning of it that no other has.

    Raises:
        NotFoundError: there is none, or there are several.
    """
    try:
        return reads.resolve(call.conn, call.path["id"])
    except Refusal as error:
        raise NotFoundError(f"there is no cluster {call.path['id'][:60]}, or there are several") from error


def _whole(call: Call, cluster_id: str) -> dict[str, Any]:
    shown = reads.whole(call.conn, cluster_id)
    if shown is None:
        raise NotFoundError(f"there is no cluster {cluster_id[:60]}")
    return shown


def _node(call: Call, cluster_id: str, node_id: str) -> dict[str, Any]:
    for node in _whole(call, cluster_id)["nodes"]:
        if node["node_id"] == node_id:
            return dict(node)
    raise NotFoundError(f"cluster {cluster_id} has no node {node_id[:60]}")


def list_clusters(call: Call) -> Answer:
    asked = call.asked(ClusterFilter)
    return paged(pages.listed(call.conn, pages.Filters(asked.status, asked.ended), asked.wanted))


def get_cluster(call: Call) -> Answer:
    return Answer(_whole(call, _found(call)["cluster_id"]))


def create_cluster(call: Call) -> Answer:
    made = writes.call_cluster(call.conn, "create_cluster", said(call.body))["result"]
    row = _whole(call, made)
    return Answer(row, headers={"Location": f"{PATH}/{made}"}, about=made, name=row["name"])


def decommission_cluster(call: Call) -> Answer:
    row, asked = _found(call), call.asked(Ending)
    given = {"cluster_id": row["cluster_id"], "force": asked.force, "epoch": asked.epoch}
    return Answer(
        writes.call_cluster(call.conn, "decommission_cluster", given), about=row["cluster_id"], name=row["name"]
    )


def get_clusters_health(call: Call) -> Answer:
    return Answer(reads.health(call.conn))


def get_cluster_health(call: Call) -> Answer:
    return Answer(reads.health(call.conn, _found(call)["cluster_id"]))


def list_cluster_events(call: Call) -> Answer:
    asked = call.asked(EventsFilter)
    return paged(pages.events(call.conn, _found(call)["cluster_id"], asked.severity, asked.wanted))


def list_cluster_metrics(call: Call) -> Answer:
    asked = call.asked(MetricsFilter)
    return paged(pages.metrics(call.conn, _found(call)["cluster_id"], asked.node, asked.wanted))


def record_cluster_metrics(call: Call) -> Answer:
    row = _found(call)
    made = writes.call_cluster(
        call.conn, "record_cluster_metrics", {**said(call.body), "cluster_id": row["cluster_id"]}
    )
    return Answer({"metric_id": made["result"]}, about=row["cluster_id"], name=row["name"])


def add_cluster_node(call: Call) -> Answer:
    cluster_id = _found(call)["cluster_id"]
    made = writes.call_cluster(call.conn, "add_cluster_node", {**said(call.body), "cluster_id": cluster_id})["result"]
    node = _node(call, cluster_id, made)
    body = {**node, "key": keys.rotate(call.conn, made)}
    return Answer(body, headers={"Location": f"{PATH}/{cluster_id}/nodes/{made}"}, about=made, name=node["name"])


def get_cluster_node(call: Call) -> Answer:
    return Answer(_node(call, _found(call)["cluster_id"], call.path["node"]))


def update_cluster_node(call: Call) -> Answer:
    cluster_id = _found(call)["cluster_id"]
    before = _node(call, cluster_id, call.path["node"])
    given = {**changes_in(call), "node_id": before["node_id"]}
    row = writes.call_cluster(call.conn, "update_node_status", given)
    leads = {name: row["node_id"] == leader for name, leader in _leaders(call, cluster_id).items()}
    return Answer({**row, **leads}, about=row["node_id"], name=row["name"])


def _leaders(call: Call, cluster_id: str) -> dict[str, str | None]:
    now: dict[str, Any] = reads.by_id(call.conn, cluster_id) or {}
    return {"is_primary": now.get("primary_node_id"), "is_coordinator": now.get("coordinator_node_id")}


def promote_cluster_node(call: Call) -> Answer:
    node = _node(call, _found(call)["cluster_id"], call.path["node"])
    done = writes.call_cluster(call.conn, "promote_to_primary", {**said(call.body), "node_id": node["node_id"]})
    return Answer(done, about=node["node_id"], name=node["name"])


def _reads(path: str, does: str, handle: Any, gives: type[BaseModel], asks: type[BaseModel] | None = None) -> Endpoint:
    return Endpoint("GET", path, does, READ, handle, gives, asks=asks, refuses=(404,) if "{" in path else ())


def _audit(what: str, done: str) -> Audit:
    return Audit(f"{what.upper()}_{done}", "SYSTEM" if what == "cluster" else "NODE", what)


ENDPOINTS = (
    _reads(
        PATH, "Clusters, the newest first, with their nodes counted", list_clusters, Page[Cluster], asks=ClusterFilter
    ),
    Endpoint(
        "POST",
        PATH,
        "Make a cluster, by a template",
        WRITE,
        create_cluster,
        ClusterWhole,
        NewCluster,
        status=201,
        audit=_audit("cluster", "CREATED"),
        refuses=(404,),
        example={"name": "serving", "region": "eu", "template": "production"},
    ),
    _reads(f"{PATH}:health", "The health of all clusters that are in use", get_clusters_health, HealthSummary),
    _reads(ONE, "One cluster with its nodes, by its id or name", get_cluster, ClusterWhole),
    Endpoint(
        "DELETE",
        ONE,
        "Take a cluster out of use for good",
        WRITE,
        decommission_cluster,
        Decommissioned,
        asks=Ending,
        audit=_audit("cluster", "DECOMMISSIONED"),
        refuses=(404,),
    ),
    _reads(f"{ONE}/health", "The health of one", get_cluster_health, HealthSummary),
    _reads(f"{ONE}/events", "What happened to it", list_cluster_events, Page[ClusterEvent], asks=EventsFilter),
    _reads(f"{ONE}/metrics", "What was measured", list_cluster_metrics, Page[Measured], asks=MetricsFilter),
    Endpoint(
        "POST",
        f"{ONE}/metrics",
        "Write measurements down, of the cluster or of one of its nodes",
        WRITE,
        record_cluster_metrics,
        Recorded,
        NewMetrics,
        status=201,
        audit=_audit("cluster", "METRICS_RECORDED"),
        refuses=(404,),
        example={"metrics": {"requests_per_s": 120}},
    ),
    Endpoint(
        "POST",
        NODES,
        "Add a node and make its key, which is shown this once",
        WRITE,
        add_cluster_node,
        MadeClusterNode,
        NewClusterNode,
        status=201,
        audit=_audit("cluster_node", "CREATED"),
        lost="Give it another key (POST /v1/nodes/{id}/rotate-key).",
        refuses=(404,),
        example={"name": "worker-1", "capacity_cpu": 32, "capacity_memory_gb": 128},
    ),
    _reads(NODE, "One node of a cluster", get_cluster_node, ClusterNode),
    Endpoint(
        "PATCH",
        NODE,
        "Say how a node is",
        WRITE,
        update_cluster_node,
        ClusterNode,
        NodeReport,
        audit=_audit("cluster_node", "UPDATED"),
        refuses=(404,),
        example={"status": "maintenance"},
    ),
    Endpoint(
        "POST",
        f"{NODE}/promote",
        "Make a node that is online and not critical the primary, under the next epoch",
        WRITE,
        promote_cluster_node,
        Promoted,
        Known,
        audit=_audit("cluster_node", "PROMOTED"),
        refuses=(404,),
    ),
)
