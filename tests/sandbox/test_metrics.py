"""The sandbox serves the metrics API, and pods of all namespaces, to the official client."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, pod, ready, until

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1

Usage = dict[str, str]


@pytest.fixture
def metrics(v1: Api) -> Api:
    return client.CustomObjectsApi(v1.api_client)


def asking(name: str, *requests: Usage, **metadata: Any) -> dict[str, Any]:
    """A pod with a container for each of the requests."""
    body = pod(name, 0, **metadata)
    containers = [
        {"name": f"c{index}", "image": "busybox", "resources": {"requests": request}}
        for index, request in enumerate(requests)
    ]
    body["spec"] = {"containers": containers}
    return body


def listed(metrics: Api, **query: str) -> list[dict[str, Any]]:
    answered = metrics.list_cluster_custom_object("metrics.k8s.io", "v1beta1", "pods", **query)
    items: list[dict[str, Any]] = answered["items"]
    return items


def usages(item: dict[str, Any]) -> list[Usage]:
    return [container["usage"] for container in item["containers"]]


def test_metrics_are_those_of_the_official_api(v1: Api, metrics: Api) -> None:
    v1.create_namespaced_pod(NS, asking("a", {"cpu": "500m", "memory": "1Gi"}))
    ready(v1, "a")

    answered = metrics.list_cluster_custom_object("metrics.k8s.io", "v1beta1", "pods")

    (item,) = answered.pop("items")
    assert answered == {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}}
    assert item == {
        "metadata": {
            "name": "a",
            "namespace": NS,
            "labels": {"reservation": "a"},
            "creationTimestamp": item["timestamp"],
        },
        "timestamp": item["timestamp"],
        "window": "15s",
        "containers": [{"name": "c0", "usage": {"cpu": "250m", "memory": "524288Ki"}}],
    }
    assert datetime.fromisoformat(item["timestamp"]).tzinfo


@pytest.mark.parametrize(
    ("requests", "usage"),
    [
        ({}, {"cpu": "0", "memory": "0"}),
        ({"cpu": "2"}, {"cpu": "1000m", "memory": "0"}),
        ({"cpu": "247m", "memory": "16Mi"}, {"cpu": "123500000n", "memory": "8192Ki"}),
        ({"cpu": "1m", "memory": "1Ki"}, {"cpu": "500000n", "memory": "0"}),
    ],
)
def test_a_container_uses_half_of_what_it_asks_for(v1: Api, metrics: Api, requests: Usage, usage: Usage) -> None:
    v1.create_namespaced_pod(NS, asking("a", requests))
    ready(v1, "a")

    (item,) = listed(metrics)

    assert usages(item) == [usage]


def test_annotations_say_what_the_first_container_uses_and_the_others_use_nothing(v1: Api, metrics: Api) -> None:
    annotations = {"sandbox/cpu": "1500m", "sandbox/memory": "3Gi"}
    v1.create_namespaced_pod(NS, asking("a", {"cpu": "4"}, {"cpu": "4"}, annotations=annotations))
    ready(v1, "a")

    (item,) = listed(metrics)

    assert usages(item) == [{"cpu": "1500m", "memory": "3Gi"}, {"cpu": "0", "memory": "0"}]


def test_one_annotation_leaves_the_other_amount_to_the_requests(v1: Api, metrics: Api) -> None:
    asked = {"cpu": "2", "memory": "2Mi"}
    v1.create_namespaced_pod(NS, asking("a", asked, asked, annotations={"sandbox/cpu": "7n"}))
    ready(v1, "a")

    (item,) = listed(metrics)

    assert usages(item) == [{"cpu": "7n", "memory": "1024Ki"}, {"cpu": "0", "memory": "1024Ki"}]


def test_an_annotation_that_changes_changes_the_next_sample(v1: Api, metrics: Api) -> None:
    v1.create_namespaced_pod(NS, asking("a", {"cpu": "2"}))
    ready(v1, "a")

    v1.patch_namespaced_pod("a", NS, {"metadata": {"annotations": {"sandbox/cpu": "1900m"}}})

    assert usages(listed(metrics)[0])[0]["cpu"] == "1900m"


def test_only_pods_that_run_have_metrics(box: Box, v1: Api, metrics: Api) -> None:
    v1.create_namespaced_pod(NS, pod("runs"))
    v1.create_namespaced_pod(NS, pod("waits", 100))
    v1.create_namespaced_pod(NS, pod("ends", 1))
    ready(v1, "runs")
    ready(v1, "ends")
    box.behave(NS, "ends", "succeed")
    until(lambda: v1.read_namespaced_pod("ends", NS).status.phase, lambda phase: phase == "Succeeded")

    assert [item["metadata"]["name"] for item in listed(metrics)] == ["runs"]


def test_metrics_are_chosen_by_label(v1: Api, metrics: Api) -> None:
    spread_out(v1)

    assert [item["metadata"]["name"] for item in listed(metrics)] == ["c", "a", "b"]
    assert [item["metadata"]["name"] for item in listed(metrics, label_selector="reservation!=b")] == ["c", "a"]


def test_what_the_metrics_api_has_not_is_refused(v1: Api, metrics: Api) -> None:
    with pytest.raises(client.ApiException) as unknown:
        metrics.list_cluster_custom_object("metrics.k8s.io", "v1beta1", "volumes")
    with pytest.raises(client.ApiException) as written:
        metrics.create_cluster_custom_object("metrics.k8s.io", "v1beta1", "pods", {})
    with pytest.raises(client.ApiException) as unreadable:
        listed(metrics, label_selector="a===b")

    assert [refused.value.status for refused in (unknown, written, unreadable)] == [404, 405, 400]


def test_the_metrics_api_can_fail(box: Box, metrics: Api) -> None:
    box.fault("/apis/metrics", status=503)

    with pytest.raises(client.ApiException) as refused:
        listed(metrics)

    assert refused.value.status == 503


def test_pods_of_all_namespaces_are_chosen_by_label_and_phase(v1: Api) -> None:
    spread_out(v1)
    v1.create_namespaced_pod("default", pod("waits", 100))

    def names(**query: str) -> list[tuple[str, str]]:
        found = v1.list_pod_for_all_namespaces(**query).items
        return [(each.metadata.namespace, each.metadata.name) for each in found]

    assert names(label_selector="reservation!=b,reservation!=waits") == [("default", "c"), (NS, "a")]
    assert names(field_selector="status.phase=Running") == [("default", "c"), (NS, "a"), (NS, "b")]
    assert names(label_selector="reservation=c", field_selector="status.phase=Running") == [("default", "c")]
    assert names(label_selector="reservation=waits", field_selector="status.phase=Running") == []


def test_pages_of_all_namespaces_together_are_the_list(v1: Api) -> None:
    spread_out(v1)

    first = v1.list_pod_for_all_namespaces(limit=2, field_selector="status.phase=Running")
    token = first.metadata._continue  # noqa: SLF001 - the client's own name for it
    second = v1.list_pod_for_all_namespaces(limit=2, field_selector="status.phase=Running", _continue=token)

    assert [each.metadata.name for each in first.items + second.items] == ["c", "a", "b"]
    assert second.metadata._continue is None  # noqa: SLF001 - the client's own name for it


def spread_out(v1: Api) -> None:
    """Pods a and b in one namespace, c in the one before it; they run."""
    for namespace, name in ((NS, "a"), (NS, "b"), ("default", "c")):
        v1.create_namespaced_pod(namespace, pod(name, 1))
    running = "status.phase=Running"
    until(lambda: len(v1.list_pod_for_all_namespaces(field_selector=running).items), lambda count: count == 3)
