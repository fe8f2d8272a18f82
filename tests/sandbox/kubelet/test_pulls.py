"""Images are pulled slowly, not now, or never, and the kubelet says so in a container's waiting state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, events, pod, ready, until, waiting_reason

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1

BUSYBOX = 'failed to pull and unpack image "docker.io/library/busybox:latest": failed to resolve image: '
HEAD = "unexpected status from HEAD request to https://registry-1.docker.io/v2/library/busybox/manifests/latest: "


def test_while_an_image_is_pulled_the_containers_are_being_created(box: Box, v1: Api) -> None:
    box.starts("slow-pull", trouble_s=1)

    v1.create_namespaced_pod(NS, pod("a"))

    until(lambda: events(v1, "a", "Pulling"))
    status = v1.read_namespaced_pod("a", NS).status
    assert (status.phase, waiting_reason(v1, "a")) == ("Pending", "ContainerCreating")
    assert (bool(status.start_time), status.pod_ip) == (True, None)
    ready(v1, "a")
    assert events(v1, "a", "Pulled")


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("throttled", f"rpc error: code = Unknown desc = {BUSYBOX}{HEAD}429 Too Many Requests"),
        ("registry-down", f"rpc error: code = Unknown desc = {BUSYBOX}{HEAD}503 Service Unavailable"),
    ],
)
def test_a_registry_in_trouble_is_asked_again_until_the_image_is_there(
    box: Box, v1: Api, start: str, words: str
) -> None:
    box.starts(start, trouble_s=1)
    seen: dict[str, str] = {}

    v1.create_namespaced_pod(NS, pod("a"))

    until(lambda: look(v1, seen), lambda seen: {"ErrImagePull", "ImagePullBackOff"} <= set(seen))
    assert seen["ErrImagePull"].startswith(words)
    assert seen["ImagePullBackOff"].startswith(f'Back-off pulling image "busybox": ErrImagePull: {words}')
    ready(v1, "a")
    assert {event.message for event in events(v1, "a", "Failed")} >= {"Error: ErrImagePull", "Error: ImagePullBackOff"}


@pytest.mark.parametrize(
    ("start", "reason", "words"),
    [
        (
            "missing",
            "ErrImagePull",
            f"rpc error: code = NotFound desc = {BUSYBOX}docker.io/library/busybox:latest: not found",
        ),
        ("manifest-unknown", "ErrImagePull", "manifest unknown"),
        ("denied", "ErrImagePull", "pull access denied, repository does not exist or may require authorization"),
        ("bad-image-name", "InvalidImageName", "invalid reference format"),
        ("never-pull", "ErrImageNeverPull", 'Container image "busybox" is not present with pull policy of Never'),
    ],
)
def test_an_image_that_never_comes_says_why(box: Box, v1: Api, start: str, reason: str, words: str) -> None:
    box.starts(start)
    seen: dict[str, str] = {}

    v1.create_namespaced_pod(NS, pod("a"))

    until(lambda: look(v1, seen), lambda seen: reason in seen)
    assert words in seen[reason]
    assert v1.read_namespaced_pod("a", NS).status.phase == "Pending"


def test_an_image_can_ask_for_its_trouble_by_its_name(v1: Api) -> None:
    body = pod("a")
    body["spec"]["containers"][0]["image"] = "sandbox/throttled:0.5"
    seen: dict[str, str] = {}

    v1.create_namespaced_pod(NS, body)

    until(lambda: look(v1, seen), lambda seen: "ErrImagePull" in seen)
    assert "429 Too Many Requests" in seen["ErrImagePull"]
    ready(v1, "a")


def look(v1: Api, seen: dict[str, str]) -> dict[str, str]:
    """Each waiting reason that was seen so far, with its message."""
    statuses: Any = v1.read_namespaced_pod("a", NS).status.container_statuses or ()
    seen |= {str(each.state.waiting.reason): str(each.state.waiting.message) for each in statuses if each.state.waiting}
    return seen
