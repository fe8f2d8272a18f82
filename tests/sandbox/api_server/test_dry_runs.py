"""A dry run is refused as the real request would be, and stores nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kubernetes import client

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, pod, ready, service, told

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def test_what_would_be_made_is_answered_and_not_stored(box: Box, v1: Api) -> None:
    before = box.state()["version"]

    made = v1.create_namespaced_pod(NS, pod("a"), dry_run="All")
    addressed = v1.create_namespaced_service(NS, service("a"), dry_run="All")

    assert (made.metadata.name, made.status.phase) == ("a", "Pending")
    assert made.metadata.uid
    assert made.metadata.resource_version is None
    assert addressed.spec.ports[0].node_port
    assert box.state()["version"] == before
    assert box.state()["created_pods"] == 0


def test_a_name_that_is_taken_is_refused(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))

    with pytest.raises(client.ApiException) as refused:
        v1.create_namespaced_pod(NS, pod("a"), dry_run="All")

    assert told(refused)["reason"] == "AlreadyExists"


def test_what_is_invalid_is_refused(v1: Api) -> None:
    with pytest.raises(client.ApiException) as refused:
        v1.create_namespaced_pod(NS, {"metadata": {"name": "a"}, "spec": {"containers": []}}, dry_run="All")

    assert refused.value.status == 422


def test_nothing_is_deleted(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    ready(v1, "a")

    gone = v1.delete_namespaced_pod("a", NS, dry_run="All")

    assert gone.metadata.deletion_timestamp
    assert v1.read_namespaced_pod("a", NS).metadata.deletion_timestamp is None


def test_the_deletion_of_nobody_is_not_found(v1: Api) -> None:
    with pytest.raises(client.ApiException) as refused:
        v1.delete_namespaced_pod("nobody", NS, dry_run="All")

    assert told(refused)["message"] == 'pods "nobody" not found'


def test_a_change_is_not_stored(v1: Api) -> None:
    v1.create_namespaced_service(NS, service("a"))

    changed = v1.patch_namespaced_service("a", NS, {"metadata": {"labels": {"x": "y"}}}, dry_run="All")

    assert changed.metadata.labels == {"x": "y"}
    assert v1.read_namespaced_service("a", NS).metadata.labels is None


def test_there_is_no_other_value_than_all(v1: Api) -> None:
    with pytest.raises(client.ApiException) as refused:
        v1.create_namespaced_pod(NS, pod("a"), dry_run="Some")

    assert refused.value.status == 422
    assert 'supported values: "All"' in told(refused)["message"]
