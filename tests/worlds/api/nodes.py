"""Nodes of an API under test: made over HTTP, with their keys."""

from dataclasses import dataclass
from typing import Any

import httpx

from worlds.api.server import Api

NODES, CLUSTERS = "/v1/nodes", "/v1/clusters"


@dataclass(frozen=True)
class Made:
    """A node, its key, and where it is."""

    id: str
    key: str = ""

    @property
    def href(self) -> str:
        return f"{NODES}/{self.id}"

    def client(self, api: Api) -> httpx.Client:
        return api.with_key(self.key)


def make_node(ops: httpx.Client, name: str = "n", **given: Any) -> Made:
    made = ops.post(NODES, json={"name": name, "region": "eu", **given})
    assert made.status_code == 201, made.text
    return Made(str(made.json()["id"]), made.json()["key"])


def make_cluster(ops: httpx.Client, name: str = "ours", **given: Any) -> str:
    made = ops.post(CLUSTERS, json={"name": name, **given})
    assert made.status_code == 201, made.text
    return str(made.json()["cluster_id"])


def make_cluster_node(ops: httpx.Client, cluster: str, name: str = "n", **given: Any) -> Made:
    made = ops.post(f"{CLUSTERS}/{cluster}/nodes", json={"name": name, **given})
    assert made.status_code == 201, made.text
    return Made(str(made.json()["node_id"]), made.json()["key"])


def make_pool(api: Api, node: Made, name: str) -> int:
    row = api.conn.execute(
        "insert into autoscaler.pools (node_id, oracle_pool_id, name, region) values (%s, %s, %s, 'eu') returning id",
        (node.id, name, name),
    ).fetchone()
    assert row is not None
    return int(row[0])
