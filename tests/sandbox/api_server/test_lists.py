"""Lists of the sandbox are as of one version, however many pages they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, service, told

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


@pytest.fixture(autouse=True)
def services(v1: Api) -> None:
    for name in "abcd":
        v1.create_namespaced_service(NS, service(name))


def names(listed: Any) -> list[str]:
    return [each.metadata.name for each in listed.items]


def refused(v1: Api, **wanted: Any) -> Any:
    with pytest.raises(client.ApiException) as error:
        v1.list_namespaced_service(NS, **wanted)
    return told(error)


def test_all_pages_are_as_of_the_first(v1: Api) -> None:
    first = v1.list_namespaced_service(NS, limit=2)
    v1.create_namespaced_service(NS, service("c2"))
    v1.delete_namespaced_service("d", NS)

    second = v1.list_namespaced_service(NS, limit=2, _continue=first.metadata._continue)  # noqa: SLF001 - its name

    assert names(first) + names(second) == ["a", "b", "c", "d"]
    assert second.metadata.resource_version == first.metadata.resource_version
    assert first.metadata.remaining_item_count == 2


def test_a_page_after_what_is_forgotten_says_how_to_go_on(box: Box, v1: Api) -> None:
    first = v1.list_namespaced_service(NS, limit=2)
    v1.create_namespaced_service(NS, service("c2"))
    box.forget_history()

    status = refused(v1, limit=2, _continue=first.metadata._continue)  # noqa: SLF001 - its name
    rest = v1.list_namespaced_service(NS, _continue=status["metadata"]["continue"])

    assert (status["code"], status["reason"]) == (410, "Expired")
    assert names(rest) == ["c", "c2", "d"]


def test_a_list_may_be_as_of_a_version_exactly(v1: Api) -> None:
    before = v1.list_namespaced_service(NS)
    v1.delete_namespaced_service("a", NS)

    version = before.metadata.resource_version
    again = v1.list_namespaced_service(NS, resource_version=version, resource_version_match="Exact")

    assert names(again) == names(before)


def test_version_0_is_any_and_comes_whole(v1: Api) -> None:
    assert names(v1.list_namespaced_service(NS, resource_version="0", limit=1)) == ["a", "b", "c", "d"]


def test_a_version_that_is_still_to_come_times_out(v1: Api) -> None:
    status = refused(v1, resource_version="999999")

    assert (status["code"], status["reason"]) == (504, "Timeout")
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_how_many_remain_is_not_known_of_a_selection(v1: Api) -> None:
    listed = v1.list_namespaced_service(NS, field_selector="metadata.namespace=gpu-dev", limit=1)

    assert listed.metadata.remaining_item_count is None


def test_what_is_no_token_is_refused(v1: Api) -> None:
    assert refused(v1, _continue="a/b")["code"] == 400
