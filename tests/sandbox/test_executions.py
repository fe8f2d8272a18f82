"""Commands in pods are answered over a websocket, as the official client asks for it."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from kubernetes import client, stream

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, connected, pod, ready

if TYPE_CHECKING:
    from pgfleet.console.sandbox import Box

box, v1 = sandbox_cluster.box, sandbox_cluster.v1
Stream: Any = stream.stream  # has no types


def executed(box: Box, name: str, **given: Any) -> Any:
    """The connection when all has come; its socket is closed."""
    with connected(box) as api:
        method = client.CoreV1Api(api).connect_get_namespaced_pod_exec
        seen = Stream(method, name, NS, command=["ls"], stdout=True, stderr=False, _preload_content=False, **given)
        seen.run_forever(timeout=120)
        seen.sock.shutdown()
        return seen


def test_a_command_in_a_pod_answers_with_what_was_ordered(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", 1))
    ready(v1, "a")

    usual = executed(box, "a").read_all()
    box.contents(NS, "a", "3.0M\t/home/dev\n")
    ordered = executed(box, "a").read_all()

    assert usual.startswith("1.2G\t/home/dev\n")
    assert ordered == "3.0M\t/home/dev\n"
    assert box.state()["executions"] == 2


@pytest.mark.parametrize(
    ("name", "given", "status"),
    [("missing", {}, 404), ("waits", {}, 400), ("a", {"container": "other"}, 400)],
)
def test_a_command_needs_a_pod_and_a_container_that_run(
    box: Box, v1: Api, name: str, given: dict[str, Any], status: int
) -> None:
    v1.create_namespaced_pod(NS, pod("a", 1))
    v1.create_namespaced_pod(NS, pod("waits", 1, gpu_type="none"))
    ready(v1, "a")

    with pytest.raises(client.ApiException, match=f"Handshake status {status}"):
        executed(box, name, **given)


def test_a_fault_meets_commands_too(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", 1))
    ready(v1, "a")
    box.fault("/exec$", status=503)

    with pytest.raises(client.ApiException, match="Handshake status 503"):
        executed(box, "a")

    assert box.state()["executions"] == 0


def test_a_command_needs_a_websocket(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", 1))
    ready(v1, "a")

    connection = http.client.HTTPConnection(urlsplit(box.url).netloc, timeout=120)
    connection.request("POST", f"/api/v1/namespaces/{NS}/pods/a/exec?command=ls")
    response = connection.getresponse()
    answered = json.loads(response.read())
    connection.close()

    assert (response.status, answered["message"]) == (400, "Upgrade request required")


def test_a_command_that_fails_says_so_in_its_status(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", 1))
    ready(v1, "a")
    box.contents(NS, "a", b"", failure="no such file: /bin/sh")

    seen = executed(box, "a")

    status = json.loads(seen.read_channel(3))
    assert (status["status"], status["message"]) == ("Failure", "no such file: /bin/sh")


def test_a_pod_of_a_silent_node_can_t_be_asked(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", 1))
    box.node(ready(v1, "a").spec.node_name, silent=True)

    with pytest.raises(client.ApiException, match="Handshake status 500") as refused:
        executed(box, "a")

    assert "error dialing backend: dial tcp 10.0.0." in str(refused.value)


def test_a_command_that_reads_gets_what_was_typed_and_answers_as_itself(box: Box, v1: Api) -> None:
    v1.create_namespaced_pod(NS, pod("a", 1))
    ready(v1, "a")
    box.command(NS, "a", "pgfleet-jupyter-start", "missing\n")
    with connected(box) as api:
        method = client.CoreV1Api(api).connect_get_namespaced_pod_exec
        command = ["/bin/sh", "-c", "read", "pgfleet-jupyter-start"]
        opened = Stream(method, "a", NS, command=command, stdin=True, stdout=True, _preload_content=False)
        opened.write_stdin("secret\n")
        opened.run_forever(timeout=120)
        opened.sock.shutdown()

    assert opened.read_all() == "missing\n"
    assert box.state()["typed"] == [["a", "pgfleet-jupyter-start", "secret\n"]]
