"""A pod waits for the config maps and secrets that it is made of."""

from __future__ import annotations

from typing import Any

import pytest

from worlds.outside import kubernetes as sandbox_cluster
from worlds.outside.kubernetes import NS, Api, events, pod, ready, until, waiting_reason

box, v1 = sandbox_cluster.box, sandbox_cluster.v1

KEYS = {"metadata": {"name": "keys"}, "data": {"authorized_keys": "c3No"}}
VOLUMES: list[tuple[dict[str, Any], str]] = [
    ({"configMap": {"name": "keys"}}, "configmap"),
    ({"secret": {"secretName": "keys"}}, "secret"),
    ({"projected": {"sources": [{"secret": {"name": "keys"}}]}}, "secret"),
]


@pytest.mark.parametrize(("source", "kind"), VOLUMES)
def test_a_volume_that_is_not_there_yet_is_waited_for(v1: Api, source: dict[str, Any], kind: str) -> None:
    v1.create_namespaced_pod(NS, with_volume(source))

    (event,) = until(lambda: events(v1, "a", "FailedMount"))
    waits_for = waiting_reason(v1, "a")
    make(v1, kind)

    assert event.message == f'MountVolume.SetUp failed for volume "keys" : {kind} "keys" not found'
    assert (event.type, event.source.component) == ("Warning", "kubelet")
    assert waits_for == "ContainerCreating"
    ready(v1, "a")


@pytest.mark.parametrize("kind", ["configmap", "secret"])
def test_a_variable_that_can_t_be_made_is_told_in_the_containers_state(v1: Api, kind: str) -> None:
    body, field = pod("a"), {"configmap": "configMapKeyRef", "secret": "secretKeyRef"}[kind]
    reference = {"name": "keys", "key": "authorized_keys"}
    body["spec"]["containers"][0]["env"] = [{"name": "KEYS", "valueFrom": {field: reference}}]

    v1.create_namespaced_pod(NS, body)

    until(lambda: waiting_reason(v1, "a"), "CreateContainerConfigError".__eq__)
    (status,) = v1.read_namespaced_pod("a", NS).status.container_statuses
    assert status.state.waiting.message == f'{kind} "keys" not found'
    make(v1, kind)
    ready(v1, "a")


def test_an_optional_one_is_not_waited_for(v1: Api) -> None:
    v1.create_namespaced_pod(NS, with_volume({"configMap": {"name": "keys", "optional": True}}))

    ready(v1, "a")


def with_volume(source: dict[str, Any]) -> dict[str, Any]:
    body = pod("a")
    body["spec"]["volumes"] = [{"name": "keys"} | source]
    return body


def make(v1: Api, kind: str) -> None:
    create = {"configmap": v1.create_namespaced_config_map, "secret": v1.create_namespaced_secret}[kind]
    create(NS, KEYS)
