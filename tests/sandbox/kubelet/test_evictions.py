"""A node ends its pods when it is low on something or shuts down; pods that can't be ended stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, events, is_gone, pod, ready, until

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


@pytest.mark.parametrize(
    ("behaviour", "reason", "words"),
    [
        ("evict", "Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52340Ki. "),
        ("evict-storage", "Evicted", "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, "),
        ("shutdown", "Terminated", "Pod was terminated in response to imminent node shutdown."),
    ],
)
def test_a_pod_that_its_node_ends_says_why(box: Box, v1: Api, behaviour: str, reason: str, words: str) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    ready(v1, "a")

    box.behave(NS, "a", behaviour)

    status = until(lambda: v1.read_namespaced_pod("a", NS).status, lambda seen: seen.phase == "Failed")
    assert status.reason == reason
    assert status.message.startswith(words)
    target = condition(status, "DisruptionTarget")
    assert (target.status, target.reason, target.message) == ("True", "TerminationByKubelet", status.message)
    assert status.container_statuses[0].state.terminated.exit_code == 137
    assert box.state()["gpus"]["h100"]["requested"] == 0


def test_an_evicted_pod_has_an_event_with_what_its_container_used(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    ready(v1, "a")

    box.behave(NS, "a", "evict")

    (event,) = until(lambda: events(v1, "a", "Evicted"))
    assert "Container main was using 34359738Ki, request is 0, has larger consumption of memory. " in event.message


def test_a_drained_pod_is_deleted_with_a_reason(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", finalizers=["example.com/hold"]))
    ready(v1, "a")

    box.behave(NS, "a", "drain")

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: seen.metadata.deletion_timestamp)
    target = condition(seen.status, "DisruptionTarget")
    assert (target.reason, target.message) == ("EvictionByEvictionAPI", "Eviction API: evicting")


def test_a_pod_that_hangs_terminates_for_ever_and_goes_when_it_is_forced(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    ready(v1, "a")
    box.behave(NS, "a", "hang")

    v1.delete_namespaced_pod("a", NS, grace_period_seconds=1)
    v1.create_namespaced_pod(NS, pod("b"))
    ready(v1, "b")
    v1.delete_namespaced_pod("b", NS, grace_period_seconds=1)
    until(lambda: is_gone(v1, "b"))
    held = v1.read_namespaced_pod("a", NS)
    v1.delete_namespaced_pod("a", NS, grace_period_seconds=0)

    assert (held.status.phase, bool(held.metadata.deletion_timestamp)) == ("Running", True)
    assert is_gone(v1, "a")


def test_a_finalizer_lets_one_see_that_the_containers_have_ended(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", finalizers=["example.com/hold"]))
    ready(v1, "a")

    v1.delete_namespaced_pod("a", NS)

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: seen.status.phase == "Failed")
    assert (seen.metadata.deletion_grace_period_seconds, seen.metadata.finalizers) == (0, ["example.com/hold"])
    assert seen.status.container_statuses[0].state.terminated.exit_code == 137


def condition(status: Any, kind: str) -> Any:
    return next(each for each in status.conditions if each.type == kind)
