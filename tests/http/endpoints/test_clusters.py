"""`/v1/clusters`: what document 004's functions do, for operators, each change in the audit once."""

from typing import Any

import httpx
import pytest

from worlds.api.nodes import CLUSTERS, make_cluster, make_cluster_node
from worlds.api.server import Api

WHO = ("action", "category", "resource_type", "resource_id", "status")
MISSING = ["no-such-cluster", "zz", "cluster-aaaaaaaa-2026-01-01-00-00-00-aaaaaaaa", "%25", "9" * 3000, "'; drop"]


@pytest.fixture
def cluster(ops: httpx.Client, request: pytest.FixtureRequest) -> str:
    return make_cluster(ops, f"of {request.node.name}"[:255], template="production", region="eu")


def report(ops: httpx.Client, cluster: str, node: str, **given: Any) -> httpx.Response:
    return ops.patch(f"{CLUSTERS}/{cluster}/nodes/{node}", json=given)


def online(ops: httpx.Client, cluster: str, **given: Any) -> str:
    node = make_cluster_node(ops, cluster, **given).id
    assert report(ops, cluster, node, status="online", health_status="healthy").status_code == 200
    return node


def test_a_cluster_is_made_by_its_template(shared: Api, ops: httpx.Client) -> None:
    """What is given is rather than the template's, and the answer is the cluster."""
    made = ops.post(CLUSTERS, json={"name": "serving", "max_nodes": 7, "config": {"healthCheckInterval": 60}})
    found = ops.get(made.headers["Location"])

    assert (made.status_code, found.json()) == (201, made.json())
    row = made.json()
    assert (row["max_nodes"], row["max_tenants"], row["config"]["healthCheckInterval"]) == (7, 10, 60)
    assert ops.get(f"{CLUSTERS}/serving").json()["cluster_id"] == row["cluster_id"]
    assert shared.audited(*WHO) == [("CLUSTER_CREATED", "SYSTEM", "cluster", row["cluster_id"], "SUCCESS")]


def test_a_node_that_is_added_has_a_key_and_beats_with_it(shared: Api, ops: httpx.Client, cluster: str) -> None:
    """Its key is shown this once."""
    node = make_cluster_node(ops, cluster, "w1", capacity_cpu=32, roles=["worker", "storage"], priority=70)

    with node.client(shared) as own:
        beaten = own.post(f"{node.href}/heartbeat", json={"status": "ok", "cpu_usage_percent": 5})
        may = own.get(f"{CLUSTERS}/{cluster}").status_code
    found = ops.get(f"{CLUSTERS}/{cluster}/nodes/{node.id}").json()

    assert (beaten.status_code, beaten.json()["status"], may) == (200, "success", 403)
    assert (found["name"], found["capacity_cpu"], found["roles"], found["priority"]) == (
        "w1",
        32,
        ["worker", "storage"],
        70,
    )
    assert "key" not in found
    done = [row for row in shared.audited(*WHO) if row[-1] == "SUCCESS"]
    assert done[1:] == [("CLUSTER_NODE_CREATED", "NODE", "cluster_node", node.id, "SUCCESS")]


def test_a_node_is_reported_promoted_and_fenced(shared: Api, ops: httpx.Client, cluster: str) -> None:
    """Who knows another epoch than the cluster's is refused."""
    first, second = online(ops, cluster), online(ops, cluster)
    known = ops.get(f"{CLUSTERS}/{cluster}").json()["epoch"]
    shared.conn.execute("truncate autoscaler.audit_logs")

    promoted = ops.post(f"{CLUSTERS}/{cluster}/nodes/{second}/promote", json={"epoch": known})
    fenced = ops.post(f"{CLUSTERS}/{cluster}/nodes/{first}/promote", json={"epoch": known})
    reported = report(ops, cluster, second, metrics={"cpu_usage_percent": 75, "fans": 3})
    row = ops.get(f"{CLUSTERS}/{cluster}").json()

    assert promoted.json() == {
        "cluster_id": cluster,
        "primary_node_id": second,
        "previous_primary_node_id": first,
        "epoch": row["epoch"],
    }
    assert (fenced.status_code, row["primary_node_id"], row["epoch"] > known) == (409, second, True)
    assert reported.json()["health_status"] == "warning"
    assert (reported.json()["metrics"], reported.json()["is_primary"]) == ({"fans": 3}, True)
    assert [node["is_primary"] for node in row["nodes"]] == [False, True]
    assert shared.audited(*WHO) == [
        ("CLUSTER_NODE_PROMOTED", "NODE", "cluster_node", second, "SUCCESS"),
        ("CLUSTER_NODE_UPDATED", "NODE", "cluster_node", second, "SUCCESS"),
    ]


def test_health_is_summed_up_for_one_and_for_all(ops: httpx.Client, cluster: str) -> None:
    """As document 004's function does, with what should be done."""
    node = online(ops, cluster)
    report(ops, cluster, node, metrics={"cpu_usage_percent": 95})

    one = ops.get(f"{CLUSTERS}/{cluster}/health").json()
    everybody = ops.get(f"{CLUSTERS}:health").json()

    (row,) = one["clusters"]
    assert (one["total_clusters"], row["cluster_id"], row["total_nodes"]) == (1, cluster, 1)
    assert row["critical_nodes"] == 0 or row["recommendations"] != []
    assert row in everybody["clusters"]
    assert everybody["total_clusters"] == len(everybody["clusters"])


def test_looking_leaves_no_event(shared: Api, ops: httpx.Client, cluster: str) -> None:
    """A page that follows a cluster would fill its events with itself."""
    before = events(ops, cluster, severity="debug")

    for way in ("", "/health", "/events", "/metrics"):
        assert ops.get(f"{CLUSTERS}/{cluster}{way}").status_code == 200

    assert events(ops, cluster, severity="debug") == before
    assert shared.audited(*WHO)[1:] == []


def events(ops: httpx.Client, cluster: str, **params: Any) -> list[Any]:
    found = ops.get(f"{CLUSTERS}/{cluster}/events", params=params)
    assert found.status_code == 200, found.text
    return list(found.json()["items"])


def test_events_are_listed_the_newest_first_and_by_pages(ops: httpx.Client, cluster: str) -> None:
    """All but `debug`, unless one severity is asked for."""
    online(ops, cluster)

    listed = events(ops, cluster)
    first = ops.get(f"{CLUSTERS}/{cluster}/events", params={"limit": 1}).json()
    second = ops.get(f"{CLUSTERS}/{cluster}/events", params={"limit": 1, "cursor": first["next"]}).json()

    assert (listed[-1]["event_type"], listed[-1]["triggered_by"]) == ("CLUSTER_CREATED", "ops")
    assert [first["items"][0], second["items"][0]] == listed[:2]
    assert {row["severity"] for row in events(ops, cluster, severity="info")} == {"info"}
    assert ops.get(f"{CLUSTERS}/{cluster}/events", params={"severity": "bad"}).status_code == 400


def test_measurements_are_written_down_and_read(shared: Api, ops: httpx.Client, cluster: str) -> None:
    """Of the cluster and of its nodes."""
    node = make_cluster_node(ops, cluster).id
    shared.conn.execute("truncate autoscaler.audit_logs")
    at = f"{CLUSTERS}/{cluster}/metrics"

    of_all = ops.post(at, json={"metrics": {"requests_per_s": 120}})
    of_one = ops.post(at, json={"metrics": {"fans": 3}, "node_id": node})
    elsewhere = ops.post(at, json={"metrics": {}, "node_id": "node-x"})

    listed = ops.get(at).json()["items"]
    assert (of_all.status_code, elsewhere.status_code) == (201, 404)
    assert [(row["metric_id"], row["node_id"], row["metrics"]) for row in listed] == [
        (of_one.json()["metric_id"], node, {"fans": 3}),
        (of_all.json()["metric_id"], None, {"requests_per_s": 120}),
    ]
    assert ops.get(at, params={"node": node}).json()["items"] == listed[:1]
    recorded = ("CLUSTER_METRICS_RECORDED", "SYSTEM", "cluster", cluster, "SUCCESS")
    assert shared.audited(*WHO) == [recorded, recorded]


def test_a_cluster_with_nodes_is_taken_out_of_use_only_by_force(shared: Api, ops: httpx.Client, cluster: str) -> None:
    """Then it is listed for who asks for those that ended."""
    node = make_cluster_node(ops, cluster)

    refused = ops.delete(f"{CLUSTERS}/{cluster}")
    ended = ops.delete(f"{CLUSTERS}/{cluster}", params={"force": "true"})

    assert (refused.status_code, ended.status_code) == (409, 200)
    assert ended.json() == {"cluster_id": cluster, "status": "decommissioning", "nodes": 1}
    assert cluster not in ids(ops, limit=200)
    assert cluster in ids(ops, limit=200, ended="true")
    assert ops.get(f"{CLUSTERS}/{cluster}/nodes/{node.id}").status_code == 404
    with node.client(shared) as own:
        assert own.post(f"{node.href}/heartbeat", json={"status": "ok"}).status_code == 401
    done = ("CLUSTER_DECOMMISSIONED", "SYSTEM", "cluster", cluster, "SUCCESS")
    assert [row for row in shared.audited(*WHO) if row[0] == done[0] and row[-1] == "SUCCESS"] == [done]


def ids(ops: httpx.Client, **params: Any) -> list[str]:
    found = ops.get(CLUSTERS, params=params)
    assert found.status_code == 200, found.text
    return [row["cluster_id"] for row in found.json()["items"]]


def test_clusters_are_listed_by_pages_and_by_state(ops: httpx.Client) -> None:
    """All pages together are all clusters."""
    made = [make_cluster(ops, f"listed {number}") for number in range(3)]

    first = ops.get(CLUSTERS, params={"limit": 2}).json()
    second = ops.get(CLUSTERS, params={"limit": 1, "cursor": first["next"]}).json()

    assert [row["cluster_id"] for row in (*first["items"], *second["items"])] == made[::-1]
    assert set(made) <= set(ids(ops, limit=200, status="initializing"))
    assert not set(made) & set(ids(ops, limit=200, status="active"))


BAD_CLUSTERS = [
    {},
    {"name": ""},
    {"name": "x", "max_nodes": 0},
    {"name": "x", "max_nodes": 2**31},
    {"name": "x", "max_nodes": "3"},
    {"name": "x", "config": []},
    {"name": "x", "config": {"a": 1e300}},
    {"name": "x", "status": "active"},
]
BAD_NODES = [
    {},
    {"name": "x", "capacity_cpu": 0},
    {"name": "x", "capacity_cpu": "8"},
    {"name": "x", "roles": []},
    {"name": "x", "roles": "worker"},
    {"name": "x", "priority": -1},
    {"name": "x", "epoch": 2**63},
    {"name": "x", "cluster_id": "other"},
]
BAD_REPORTS: list[dict[str, Any]] = [
    {},
    {"status": "sick"},
    {"status": None},
    {"health_status": "fine"},
    {"metrics": 5},
    {"metrics": {"cpu_usage_percent": 101}},
    {"metrics": {"cpu_usage_percent": "5"}},
    {"metrics": {"load_average": True}},
    {"node_id": "other"},
]


def test_what_can_not_be_is_refused_and_changes_nothing(ops: httpx.Client, cluster: str) -> None:
    """By the shapes of the bodies, before the database is asked."""
    node = make_cluster_node(ops, cluster).id
    before = ops.get(f"{CLUSTERS}/{cluster}").json()

    answers = [
        *(ops.post(CLUSTERS, json=body) for body in BAD_CLUSTERS),
        *(ops.post(f"{CLUSTERS}/{cluster}/nodes", json=body) for body in BAD_NODES),
        *(report(ops, cluster, node, **body) for body in BAD_REPORTS),
        ops.post(f"{CLUSTERS}/{cluster}/metrics", json={"metrics": []}),
        ops.delete(f"{CLUSTERS}/{cluster}", params={"force": "perhaps"}),
        ops.delete(f"{CLUSTERS}/{cluster}", params={"epoch": "x"}),
    ]

    assert {answer.status_code for answer in answers} == {400}, [answer.text for answer in answers]
    assert ops.get(f"{CLUSTERS}/{cluster}").json() == before


def test_what_the_cluster_is_not_fit_for_is_a_conflict(ops: httpx.Client) -> None:
    """A full one takes no node, and a node that is not online leads none."""
    small = make_cluster(ops, "small", max_nodes=1)
    node = make_cluster_node(ops, small).id

    full = ops.post(f"{CLUSTERS}/{small}/nodes", json={"name": "one more"})
    unfit = ops.post(f"{CLUSTERS}/{small}/nodes/{node}/promote")
    interval = ops.post(CLUSTERS, json={"name": "x", "config": {"healthCheckInterval": 0}})
    template = ops.post(CLUSTERS, json={"name": "x", "template": "none"})

    assert [full.status_code, unfit.status_code, interval.status_code, template.status_code] == [409, 409, 400, 404]


CALLS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("DELETE", "", None),
    ("GET", "/health", None),
    ("GET", "/events", None),
    ("GET", "/metrics", None),
    ("POST", "/metrics", {"metrics": {}}),
    ("POST", "/nodes", {"name": "x"}),
    ("GET", "/nodes/x", None),
    ("PATCH", "/nodes/x", {"status": "online"}),
    ("POST", "/nodes/x/promote", {}),
]


@pytest.mark.parametrize("missing", MISSING, ids=lambda given: given[:12])
def test_a_cluster_that_is_not_there_is_not_found(ops: httpx.Client, cluster: str, missing: str) -> None:
    """By no endpoint a mistake of the program; nor is a node that the cluster has not."""
    found = [ops.request(method, f"{CLUSTERS}/{missing}{way}", json=body).status_code for method, way, body in CALLS]
    nodes = [
        ops.request(method, f"{CLUSTERS}/{cluster}{way}".replace("/x", f"/{missing}"), json=body).status_code
        for method, way, body in CALLS
        if "/nodes/x" in way
    ]

    assert set(found + nodes) == {404}, (found, nodes)


def test_a_node_of_another_cluster_is_not_this_ones(ops: httpx.Client, cluster: str) -> None:
    """Whatever is asked about it."""
    theirs = make_cluster_node(ops, make_cluster(ops, "the other one")).id

    assert report(ops, cluster, theirs, status="online").status_code == 404
    assert ops.post(f"{CLUSTERS}/{cluster}/nodes/{theirs}/promote").status_code == 404


def test_who_is_no_operator_does_nothing_with_clusters(
    shared: Api, ops: httpx.Client, ada: httpx.Client, cluster: str
) -> None:
    """Neither a user nor a node of it."""
    node = make_cluster_node(ops, cluster)

    with node.client(shared) as own:
        for client in (ada, own):
            found = [client.request(method, f"{CLUSTERS}/{cluster}{way}", json=body) for method, way, body in CALLS]
            found += [client.get(CLUSTERS), client.post(CLUSTERS, json={"name": "x"}), client.get(f"{CLUSTERS}:health")]
            assert {answer.status_code for answer in found} == {403}
