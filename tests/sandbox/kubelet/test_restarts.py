"""Containers that can't be made or started, or end, are treated as the pod's restart policy says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from pgfleet.console import sandbox
from worlds.outside.kubernetes import NS, Api, connected, events, pod, ready, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox import Box


@pytest.fixture
def box() -> Iterator[Box]:
    """Its kubelets back off for as long as real ones: ten seconds at first."""
    with sandbox.running(["h100:2x8"], ready_delay_s=0.05, termination_delay_s=0.1, second_s=1.0) as running:
        yield running


@pytest.fixture
def v1(box: Box) -> Iterator[Api]:
    with connected(box) as api:
        yield client.CoreV1Api(api)


def test_a_container_that_crashes_again_is_backed_off(box: Box, v1: Api) -> None:
    box.starts("crash-loop")

    v1.create_namespaced_pod(NS, pod("a"))

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: waiting(seen) == "CrashLoopBackOff")
    (status,) = seen.status.container_statuses
    mark = f"a_{NS}({seen.metadata.uid})"
    assert status.state.waiting.message == f"back-off 10s restarting failed container=main pod={mark}"
    ended = status.last_state.terminated
    assert (ended.exit_code, ended.reason, status.restart_count, status.ready) == (1, "Error", 1, False)
    assert ended.finished_at
    assert ended.container_id.startswith("containerd://")
    assert (seen.status.phase, condition(seen, "Ready").reason) == ("Running", "ContainersNotReady")
    assert condition(seen, "Ready").message == "containers with unready status: [main]"
    (event,) = events(v1, "a", "BackOff")
    assert event.message == f"Back-off restarting failed container main in pod {mark}"


def test_a_live_pod_can_crash_once_and_is_ready_again(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    ready(v1, "a")

    box.behave(NS, "a", "crash")

    (status,) = until(lambda: ready(v1, "a").status.container_statuses, lambda seen: seen[0].restart_count == 1)
    assert status.last_state.terminated.exit_code == 1


@pytest.mark.parametrize(
    ("policy", "start", "phase", "reason"),
    [
        ("OnFailure", "completes", "Succeeded", "Completed"),
        ("Never", "completes", "Succeeded", "Completed"),
        ("Never", "crash-loop", "Failed", "Error"),
        ("Never", "oom-loop", "Failed", "OOMKilled"),
        ("Never", "run-error", "Failed", "StartError"),
    ],
)
def test_a_pod_that_is_not_restarted_ends_before_it_was_ready(
    box: Box, v1: Api, policy: str, start: str, phase: str, reason: str
) -> None:
    body = pod("a")
    body["spec"]["restartPolicy"] = policy
    box.starts(start)

    v1.create_namespaced_pod(NS, body)

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: seen.status.phase == phase)
    assert seen.status.container_statuses[0].state.terminated.reason == reason
    assert condition(seen, "Ready").reason == {"Succeeded": "PodCompleted", "Failed": "PodFailed"}[phase]


@pytest.mark.parametrize(("command", "code", "phase"), [("true", 0, "Succeeded"), ("exit 3", 3, "Failed")])
def test_a_command_that_does_nothing_but_end_ends_the_pod(v1: Api, command: str, code: int, phase: str) -> None:
    body = pod("a")
    body["spec"]["restartPolicy"] = "Never"
    body["spec"]["containers"][0]["command"] = ["/bin/sh", "-c", command]

    v1.create_namespaced_pod(NS, body)

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: seen.status.phase == phase)
    assert seen.status.container_statuses[0].state.terminated.exit_code == code


def test_a_command_that_ends_is_started_again_where_it_always_is(box: Box, v1: Api) -> None:
    body = pod("a")
    body["spec"]["restartPolicy"] = "Always"
    box.starts("completes")

    v1.create_namespaced_pod(NS, body)

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: waiting(seen) == "CrashLoopBackOff")
    ended = seen.status.container_statuses[0].last_state.terminated
    assert (ended.exit_code, ended.reason) == (0, "Completed")


def test_a_container_that_takes_too_long_to_be_made_is_made_later(box: Box, v1: Api) -> None:
    box.starts("create-timeout", trouble_s=1)

    v1.create_namespaced_pod(NS, pod("a"))

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: waiting(seen) == "CreateContainerError")
    assert seen.status.container_statuses[0].state.waiting.message == "context deadline exceeded"
    assert [event.message for event in until(lambda: events(v1, "a", "Failed"))] == ["Error: context deadline exceeded"]
    ready(v1, "a")


def test_a_container_that_can_t_be_started_is_tried_again_and_again(box: Box, v1: Api) -> None:
    box.starts("run-error")

    v1.create_namespaced_pod(NS, pod("a"))

    seen = until(lambda: v1.read_namespaced_pod("a", NS), lambda seen: waiting(seen) == "CrashLoopBackOff")
    ended = seen.status.container_statuses[0].last_state.terminated
    assert (ended.exit_code, ended.reason, ended.started_at.year) == (128, "StartError", 1970)
    assert "OCI runtime create failed" in ended.message


def test_init_containers_come_first_and_end(v1: Api) -> None:
    body = pod("a")
    body["spec"]["initContainers"] = [{"name": "first", "image": "busybox"}]

    v1.create_namespaced_pod(NS, body)

    seen = ready(v1, "a")
    (init,) = seen.status.init_container_statuses
    assert (init.state.terminated.reason, init.ready) == ("Completed", True)
    assert condition(seen, "Initialized").status == "True"


def waiting(pod: Any) -> str:
    states = [each.state.waiting for each in pod.status.container_statuses or ()]
    return next((str(state.reason) for state in states if state), "")


def condition(pod: Any, kind: str) -> Any:
    return next(each for each in pod.status.conditions if each.type == kind)
