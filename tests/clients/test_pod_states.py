"""What a pod and its node are taken for, from what real clusters write of them."""

from typing import Any

import pytest
from kubernetes import client

from pgfleet.workers.clients.kubernetes.pod import NodeState, PodState, node_state, pod_state
from pgfleet.workers.clients.kubernetes.status.conditions import Place, Taken
from pgfleet.workers.clients.kubernetes.status.containers import Waiting
from worlds.outside.texts import names, text


def of(path: str) -> PodState:
    return pod_state(client.V1Pod.model_validate(text(f"pods/{path}")))


def node(path: str) -> NodeState:
    return node_state(client.V1Node.model_validate(text(f"nodes/{path}")))


def is_refused(pod: PodState) -> bool:
    return pod.phase == "Failed" and not pod.ran


def facts(pod: PodState) -> set[Any]:
    """All that is wrong with a pod, or on its way; nothing for one that answers."""
    found: set[Any] = {
        pod.unplaced and pod.unplaced.place,
        pod.waits and pod.waits.kind,
        pod.disruption and pod.disruption.taken,
        "silent" if pod.node_silent else None,
        "deleting" if pod.deleting else None,
        "crashed" if pod.crashes and pod.ended is None else None,
        "ended" if pod.ended else None,
        "refused" if is_refused(pod) else None,
        None if pod.ready else "unready",
    }
    return found - {None}


NOT_YET = "unready"
KNOWN: dict[str, set[Any]] = {
    "container-creating": {NOT_YET, Waiting.PULLING},
    "crash-loop-back-off": {NOT_YET, "crashed"},
    "create-container-config-error": {NOT_YET, Waiting.STARTING},
    "create-container-error": {NOT_YET, Waiting.STARTING},
    "deadline-exceeded": {NOT_YET, "ended"},
    "deleted-by-pod-gc": {NOT_YET, "ended", "silent", Taken.NODE_DELETED},
    "err-image-pull-throttled": {NOT_YET, Waiting.IMAGE},
    "evicted": {NOT_YET, "ended", Taken.EVICTED},
    "evicted-by-api": {"deleting", Taken.EVICTED},
    "evicted-by-taint": {NOT_YET, "deleting", "silent", Taken.TAINTED},
    "failed": {NOT_YET, "ended"},
    "image-pull-back-off-denied": {NOT_YET, Waiting.IMAGE_MISSING},
    "image-pull-back-off-not-found": {NOT_YET, Waiting.IMAGE_MISSING},
    "image-pull-back-off-throttled": {NOT_YET, Waiting.IMAGE},
    "image-pull-back-off-unavailable": {NOT_YET, Waiting.IMAGE},
    "invalid-image-name": {NOT_YET, Waiting.NEVER},
    "just-made": {NOT_YET, Place.UNSEEN},
    "node-not-ready": {NOT_YET, "silent"},
    "node-shutdown": {NOT_YET, "ended", Taken.NODE_SHUTDOWN},
    "nominated": {NOT_YET, Place.UNSCHEDULABLE},
    "oom-killed": {"crashed"},
    "preempted": {"deleting", Taken.PREEMPTED},
    "run-container-error": {NOT_YET, Waiting.STARTING},
    "running": set(),
    "running-dual-stack": set(),
    "running-unready": {NOT_YET},
    "scheduling-gated": {NOT_YET, Place.GATED},
    "succeeded": {NOT_YET, "ended"},
    "terminating": {"deleting"},
    "terminating-finalizer": {NOT_YET, "deleting", "ended"},
    "unbound-claim": {NOT_YET, Place.UNSCHEDULABLE},
    "unschedulable": {NOT_YET, Place.UNSCHEDULABLE},
}


@pytest.mark.parametrize("path", names("pods"))
def test_every_pod_is_taken_for_what_it_is(path: str) -> None:
    name = path.removeprefix("pods/")
    expected = {NOT_YET, "ended", "refused"} if name.startswith("rejected-") else KNOWN[name]

    assert facts(of(name)) == expected


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("failed", "exit code 1 (Error)"),
        ("succeeded", "exit code 0 (Completed)"),
        ("rejected-out-of-gpu", "OutOfnvidia.com/gpu: Pod was rejected: Node didn't have enough resource"),
        ("rejected-unexpected-admission-error", "UnexpectedAdmissionError: Pod was rejected: Allocate failed"),
        ("evicted", "exit code 137 (Evicted): The node was low on resource: memory."),
    ],
)
def test_how_it_ended_is_told(path: str, words: str) -> None:
    ended = of(path).ended

    assert ended is not None
    assert ended.text.startswith(words)


def test_a_crash_is_told_with_its_number_and_its_own_message() -> None:
    crashes = of("crash-loop-back-off").crashes

    assert crashes is not None
    assert crashes.number > 1
    assert crashes.last.text == "exit code 127 (Error): /bin/sh: 1: start-ssh: not found"


@pytest.mark.parametrize(
    ("path", "silent", "trouble"),
    [
        ("ready", False, None),
        ("tainted", False, None),
        ("unreachable", True, "NodeStatusUnknown: Kubelet stopped posting node status."),
        ("not-ready", False, "KubeletNotReady: container runtime network not ready"),
    ],
)
def test_a_node_that_is_silent_is_no_node_that_is_not_ready(path: str, silent: bool, trouble: str | None) -> None:  # noqa: FBT001  # parametrised
    found = node(path)

    assert found.silent == silent
    assert (found.trouble or "").startswith(trouble or "")
    assert (found.trouble is None) == (trouble is None)


@pytest.mark.parametrize("path", ["ready-dual-stack", "ready-ipv6-first"])
def test_a_node_of_both_families_has_an_address_of_each(path: str) -> None:
    assert node(path).address(("ExternalIP", "InternalIP"), 4) == "10.0.0.1"
    assert node(path).address(("ExternalIP", "InternalIP"), 6) == "fd00:10::1"
