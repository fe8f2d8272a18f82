"""What a container has printed is read as a kubelet gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from pgfleet.console import sandbox
from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, pod, ready, told, until, waiting_reason
from worlds.outside.texts import text

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1


def refusal(v1: Api, **wanted: Any) -> Any:
    with pytest.raises(client.ApiException) as refused:
        v1.read_namespaced_pod_log("a", NS, **wanted)
    return told(refused)


@pytest.fixture
def running(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a"))
    ready(v1, "a")


@pytest.mark.parametrize(
    ("wanted", "read"),
    [
        ({}, "one\ntwo\nthree\n"),
        ({"tail_lines": 2}, "two\nthree\n"),
        ({"tail_lines": 0}, ""),
        ({"limit_bytes": 5}, "one\nt"),
        ({"tail_lines": 2, "limit_bytes": 3, "container": "main"}, "two"),
    ],
)
def test_a_log_is_cut_from_its_end_and_then_to_its_size(
    box: Box, v1: Api, running: None, wanted: dict[str, Any], read: str
) -> None:
    box.log(NS, "a", "one\ntwo\nthree\n")

    assert v1.read_namespaced_pod_log("a", NS, **wanted) == read


def test_the_run_before_has_a_log_of_its_own(box: Box, v1: Api, running: None) -> None:
    before = refusal(v1, previous=True)
    box.log(NS, "a", "killed\n", previous=True)
    box.behave(NS, "a", "oom")
    until(lambda: v1.read_namespaced_pod("a", NS).status.container_statuses[0].restart_count)

    assert before == text("refusals/log-previous-missing")
    assert v1.read_namespaced_pod_log("a", NS, previous=True) == "killed\n"


def test_an_ended_pod_keeps_its_log(box: Box, v1: Api) -> None:
    body = pod("a")
    body["spec"]["restartPolicy"] = "Never"
    v1.create_namespaced_pod(NS, body)
    ready(v1, "a")
    box.log(NS, "a", "the end\n")
    box.behave(NS, "a", "crash")
    until(lambda: v1.read_namespaced_pod("a", NS).status.phase, lambda phase: phase == "Failed")

    assert v1.read_namespaced_pod_log("a", NS) == "the end\n"


def test_a_container_without_its_image_has_no_log(v1: Api) -> None:
    body = pod("a")
    body["spec"]["containers"][0]["image"] = "missing"
    v1.create_namespaced_pod(NS, body)
    until(lambda: waiting_reason(v1, "a"), lambda reason: reason == "ImagePullBackOff")

    assert refusal(v1) == text("refusals/log-no-image")


def test_a_container_that_is_made_has_no_log() -> None:
    with (
        sandbox.running(["h100:1x8"], ready_delay_s=60) as slow,
        sandbox_cluster.connected(slow) as api,
    ):
        waits: Api = client.CoreV1Api(api)
        waits.create_namespaced_pod(NS, pod("a"))
        until(lambda: waiting_reason(waits, "a"))

        assert refusal(waits) == text("refusals/log-waiting")


def test_a_pod_on_no_node_has_printed_nothing(v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", 100))

    assert v1.read_namespaced_pod_log("a", NS) == ""


def test_a_container_has_to_be_one_of_the_pods(v1: Api, running: None) -> None:
    assert refusal(v1, container="other") == text("refusals/log-container-unknown")
    assert refusal(v1, tail_lines=-1)["message"] == (
        'PodLogOptions "a" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0'
    )


def test_of_several_containers_one_has_to_be_named(v1: Api) -> None:
    body = pod("a")
    body["spec"]["containers"].append({"name": "side", "image": "busybox"})
    v1.create_namespaced_pod(NS, body)

    assert refusal(v1) == text("refusals/log-container-needed")


def lines_since(v1: Api, since: str | None = None) -> list[tuple[str, str]]:
    """(time, text) of each line; the generated method has no `sinceTime`."""
    wanted = [("timestamps", True), *([("sinceTime", since)] if since else [])]
    path = f"/api/v1/namespaces/{NS}/pods/a/log"
    asked = v1.api_client.param_serialize("GET", path, query_params=wanted, header_params={"Accept": "text/plain"})
    answer: Any = v1.api_client.call_api(*asked)
    assert answer.status == 200
    return [tuple(line.split(" ", 1)) for line in answer.read().decode().splitlines()]


def test_each_line_has_a_time_of_its_own_and_a_log_is_read_from_a_second_on(box: Box, v1: Api, running: None) -> None:
    box.log(NS, "a", "one\ntwo\n")
    box.log(NS, "a", "three\n", more=True)

    lines = lines_since(v1)
    second = lines[-1][0][:19]

    assert [text for _, text in lines] == ["one", "two", "three"]
    assert [at for at, _ in lines] == sorted({at for at, _ in lines})
    assert lines_since(v1, f"{second}Z") == [line for line in lines if line[0] >= second]
    assert lines_since(v1, "2099-01-01T00:00:00Z") == []
