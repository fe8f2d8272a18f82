"""The sandbox is a Kubernetes API as far as the official client can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kubernetes import client

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, pod, ready, service, told

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("reservation=a", ["a"]),
        ("reservation==a", ["a"]),
        ("reservation!=a", ["b", "c"]),
        ("extra", ["c"]),
        ("reservation!=a,extra", ["c"]),
        ("!extra", ["a", "b"]),
        ("reservation in (a, c),!extra", ["a"]),
        ("reservation notin (a,b)", ["c"]),
    ],
)
def test_label_selectors_choose(v1: Api, selector: str, names: list[str]) -> None:
    for name in ("a", "b"):
        v1.create_namespaced_pod(NS, pod(name, 1))
    v1.create_namespaced_pod(NS, pod("c", 1, labels={"reservation": "c", "extra": "yes"}))

    found = v1.list_namespaced_pod(NS, label_selector=selector).items

    assert [each.metadata.name for each in found] == names


def test_field_selectors_choose(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    v1.create_namespaced_pod(NS, pod("b", 100))
    node = ready(v1, "a").spec.node_name

    def names(selector: str) -> list[str]:
        found = v1.list_pod_for_all_namespaces(field_selector=selector).items
        return [each.metadata.name for each in found]

    assert names("status.phase=Running") == ["a"]
    assert names("status.phase!=Running,metadata.namespace=gpu-dev") == ["b"]
    assert names(f"spec.nodeName={node}") == ["a"]
    with pytest.raises(client.ApiException) as refused:
        names("spec.colour=red")
    assert refused.value.status == 400


def test_pages_together_are_the_list(v1: Api) -> None:
    for number in range(7):
        v1.create_namespaced_service(NS, service(f"s{number}"))

    names: list[str] = []
    token = ""
    while True:
        page = v1.list_namespaced_service(NS, limit=3, _continue=token)
        names += [each.metadata.name for each in page.items]
        token = page.metadata._continue or ""  # noqa: SLF001 - the client's own name for it
        if not token:
            break

    assert names == [f"s{number}" for number in range(7)]


def test_a_name_that_is_taken_already_exists(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))

    with pytest.raises(client.ApiException) as refused:
        v1.create_namespaced_pod(NS, pod("a"))

    assert refused.value.status == 409
    assert told(refused)["reason"] == "AlreadyExists"


def test_what_is_not_there_is_not_found(v1: Api) -> None:
    with pytest.raises(client.ApiException) as refused:
        v1.read_namespaced_pod("a", NS)

    status = told(refused)
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 404, "NotFound")
    assert status["details"] == {"name": "a", "kind": "pods"}


def test_nothing_is_created_in_a_namespace_that_is_not_there(v1: Api) -> None:
    with pytest.raises(client.ApiException) as refused:
        v1.create_namespaced_pod("nowhere", pod("a"))

    assert told(refused)["message"] == 'namespaces "nowhere" not found'


def test_a_pod_without_containers_is_invalid(v1: Api) -> None:
    with pytest.raises(client.ApiException) as refused:
        v1.create_namespaced_pod(NS, {"metadata": {"name": "a"}, "spec": {"containers": []}})

    assert refused.value.status == 422
    assert told(refused)["reason"] == "Invalid"


def test_the_status_is_changed_by_its_own_address_only(v1: Api) -> None:
    v1.patch_node("h100-1", {"status": {"phase": "x"}, "metadata": {"labels": {"a": "b"}}})
    v1.patch_node_status("h100-1", {"status": {"phase": "y"}, "metadata": {"labels": {"a": "c"}}})

    node = v1.read_node("h100-1")

    assert (node.status.phase, node.metadata.labels["a"]) == ("y", "b")


def test_a_second_creation_under_one_name_is_counted(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    v1.delete_namespaced_pod("a", NS, grace_period_seconds=0)
    v1.create_namespaced_pod(NS, pod("a"))

    state = box.state()

    assert (state["created_pods"], state["double_creations"], state["objects"]["pods"]) == (2, 1, 1)
