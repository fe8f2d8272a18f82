"""Fixtures of the tests of homes: a cluster, its clients, and a pod with a home that runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pgfleet.workers.clients.kubernetes import pods as kubernetes
from pgfleet.workers.clients.kubernetes.home import Home, Homes
from pgfleet.workers.clients.kubernetes.manifest import keys_body, pod_body
from pgfleet.workers.clients.kubernetes.template.reading import Template, read_template
from worlds.fleet import settings_for, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfleet.console.sandbox import Box

NS, POD = "gpu-dev", "gpu-dev-7c9e6679"
OURS = Home(f"{POD}-home", "7c9e6679-7425-40de-944b-e07fc1f90ae7", POD, "vol-1", 100, "us-east-2a")
GPU_TYPE: Any = SimpleNamespace(max_gpus=8, cpus=192, memory_gb=2048)

Api = Any  # the client's own types make every field optional and forbid plain documents


@pytest.fixture
def pods(box: Box) -> Iterator[kubernetes.Pods]:
    settings = settings_for("postgresql://nobody@localhost/none", box)
    with kubernetes.connected(settings, read_template(settings)) as connected:
        yield connected


@pytest.fixture
def homes(pods: kubernetes.Pods) -> Homes:
    return Homes(pods.api, pods.namespace, pods.timeout_s, contents_timeout_s=60)


@pytest.fixture
def v1(pods: kubernetes.Pods) -> Api:
    return pods.api


def body(*, home: bool = True) -> dict[str, Any]:
    told = {"reservation_id": OURS.reservation_id, "gpu_type": "h100", "gpu_count": 1, "command": None}
    row: Any = SimpleNamespace(pod_name=POD, env_vars={}, dockerimage=None, preserve_entrypoint=False, **told)
    return pod_body(row, GPU_TYPE, Template("busybox", NS), home=home)


@pytest.fixture
def running(pods: kubernetes.Pods, homes: Homes) -> str:
    """The name of a pod with a home, which runs."""
    homes.make(OURS)
    pod = pods.create(body())
    row: Any = SimpleNamespace(pod_name=POD, reservation_id=OURS.reservation_id)
    pods.create_keys(keys_body(row, pod.uid, [], NS))
    until(lambda: (found := pods.find(POD)) and found.ready, within_s=10)
    return POD
