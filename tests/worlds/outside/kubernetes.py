"""Fixtures and documents of the tests that drive the sandbox with the official client."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from kubernetes import client, config

from pgfleet.console import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfleet.console.sandbox import Box

NS = "gpu-dev"
# Only a test that fails waits so long.
DEADLINE_S = 120.0
READY_DELAY_S = 0.05

Api = Any  # the client's own types make every field optional and forbid plain documents
T = TypeVar("T")


@pytest.fixture
def box() -> Iterator[Box]:
    timing: dict[str, Any] = {"termination_delay_s": 0.1, "second_s": 0.005, "slow_keys_s": 0.3}
    with sandbox.running(["h100:2x8", "cpu-x86:1x0"], ready_delay_s=READY_DELAY_S, **timing) as running:
        yield running


@pytest.fixture
def v1(box: Box) -> Iterator[Api]:
    with connected(box) as api:
        yield client.CoreV1Api(api)


def connected(box: Box) -> client.ApiClient:
    configuration = client.Configuration()
    load: Any = config.load_kube_config
    load(box.kubeconfig, client_configuration=configuration)
    configuration.retries = False
    return client.ApiClient(configuration)


def until(look: Callable[[], T], is_so: Callable[[T], Any] = bool) -> T:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so(seen := look()):
        assert time.monotonic() < deadline, f"still {seen}"
        threading.Event().wait(0.01)
    return seen


def pod(name: str, gpus: int = 8, *, gpu_type: str = "h100", **metadata: Any) -> dict[str, Any]:
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    container = {"name": "main", "image": "busybox", "resources": resources}
    spec = {"restartPolicy": "OnFailure", "nodeSelector": {"GpuType": gpu_type}, "containers": [container]}
    return {"metadata": {"name": name, "labels": {"reservation": name}} | metadata, "spec": spec}


def service(name: str, kind: str = "NodePort", **port: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 22} | port]}}


def volume(name: str, handle: str = "vol-1", zone: str = "us-east-2a", **metadata: Any) -> dict[str, Any]:
    """A volume for the claim of the same name."""
    here = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]}
    spec = {
        "capacity": {"storage": "10Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": handle},
        "claimRef": {"namespace": NS, "name": name},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
    }
    return {"metadata": {"name": name} | metadata, "spec": spec}


def claim(name: str, **metadata: Any) -> dict[str, Any]:
    storage = {"requests": {"storage": "10Gi"}}
    spec = {"volumeName": name, "accessModes": ["ReadWriteOnce"], "resources": storage, "storageClassName": ""}
    return {"metadata": {"name": name} | metadata, "spec": spec}


def with_claim(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The pod, with a claim."""
    body["spec"]["volumes"] = [{"name": "home", "persistentVolumeClaim": {"claimName": name}}]
    return body


def owned_by(owner: Any, kind: str = "Pod") -> list[dict[str, str]]:
    name, uid = owner.metadata.name, owner.metadata.uid
    return [{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}]


def ready(v1: Api, name: str) -> Any:
    def is_ready(seen: Any) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in seen.status.conditions or ())

    return until(lambda: v1.read_namespaced_pod(name, NS), is_ready)


def events(v1: Api, name: str, reason: str) -> list[Any]:
    found = v1.list_namespaced_event(NS, field_selector=f"involvedObject.name={name}").items
    return [event for event in found if event.reason == reason]


def is_gone(v1: Api, name: str) -> bool:
    return not v1.list_namespaced_pod(NS, field_selector=f"metadata.name={name}").items


def waiting_reason(v1: Api, name: str) -> str:
    statuses = v1.read_namespaced_pod(name, NS).status.container_statuses or ()
    return next((str(s.state.waiting.reason) for s in statuses if s.state.waiting), "")


def told(refused: Any) -> Any:
    """The `Status` of a refusal."""
    return json.loads(refused.value.body)
