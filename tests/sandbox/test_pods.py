"""Simulated pods start, fail, restart and end as they are told to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from kubernetes import client

from pgfleet.console import sandbox
from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import (
    NS,
    Api,
    connected,
    events,
    is_gone,
    pod,
    ready,
    until,
    waiting_reason,
)

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def test_readiness_takes_as_long_as_it_is_told_to() -> None:
    with sandbox.running(["h100:1x8"], ready_delay_s=0.4) as slow, connected(slow) as api:
        v1: Api = client.CoreV1Api(api)
        started_at = time.monotonic()
        v1.create_namespaced_pod(NS, pod("a"))

        until(lambda: waiting_reason(v1, "a"), lambda reason: reason == "ContainerCreating")
        ready(v1, "a")

        waited_s = time.monotonic() - started_at
        assert waited_s >= 0.4


def test_an_image_with_missing_in_its_name_cannot_be_pulled(v1: Api) -> None:
    body = pod("a", 1)
    body["spec"]["containers"][0]["image"] = "registry/missing:1"

    v1.create_namespaced_pod(NS, body)

    until(lambda: waiting_reason(v1, "a"), lambda reason: reason == "ImagePullBackOff")
    assert v1.read_namespaced_pod("a", NS).status.phase == "Pending"
    assert events(v1, "a", "Failed")


def test_a_pod_told_never_to_be_ready_runs_unready(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    (status,) = ready(v1, "a").status.container_statuses

    box.behave(NS, "a", "never-ready")

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: not seen.status.container_statuses[0].ready)
    assert (status.ready, seen.status.phase) == (True, "Running")


@pytest.mark.parametrize(("behaviour", "phase"), [("crash", "Failed"), ("succeed", "Succeeded")])
def test_a_pod_that_ends_gives_its_gpus_back(box: Box, v1: Api, behaviour: str, phase: str) -> None:
    body = pod("a", 1)
    body["spec"]["restartPolicy"] = "Never"
    v1.create_namespaced_pod(NS, body)
    ready(v1, "a")

    box.behave(NS, "a", behaviour)

    until(lambda: v1.read_namespaced_pod("a", NS).status.phase, lambda seen: seen == phase)

    assert box.state()["gpus"]["h100"]["requested"] == 0


def test_an_out_of_memory_kill_restarts_the_container_and_leaves_its_trace(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    ready(v1, "a")

    for restarts in (1, 2):
        box.behave(NS, "a", "oom")
        until(lambda: ready(v1, "a").status.container_statuses[0].restart_count, restarts.__eq__)

    (status,) = ready(v1, "a").status.container_statuses
    assert status.last_state.terminated.reason == "OOMKilled"
    assert status.last_state.terminated.finished_at


def test_a_live_pod_can_vanish(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    ready(v1, "a")

    box.behave(NS, "a", "vanish")

    until(lambda: is_gone(v1, "a"))


def test_an_unknown_behaviour_is_refused(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    ready(v1, "a")

    with pytest.raises(ValueError, match="unknown behaviour"):
        box.behave(NS, "a", "dance")


def test_a_pod_on_a_node_that_is_gone_is_gone(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    node = ready(v1, "a").spec.node_name

    v1.delete_node(node)

    until(lambda: is_gone(v1, "a"))
