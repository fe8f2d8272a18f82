"""Every body that the program sends to Kubernetes; a new function that makes one has to be added here."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pgfleet.workers.clients import kubernetes
from pgfleet.workers.clients.kubernetes.gangs.bodies import (
    Gang,
    headless_body,
    in_gang,
    policy_body,
    public_body,
    secret_body,
)
from pgfleet.workers.clients.kubernetes.gangs.keypair import KeyPair
from pgfleet.workers.clients.kubernetes.manifest import jupyter_service_body, keys_body, pod_body, ssh_service_body
from pgfleet.workers.clients.kubernetes.plain import plain_keys, plain_pod, plain_pod_like, plain_service
from pgfleet.workers.clients.kubernetes.template.reading import Template
from pgfleet.workers.clients.kubernetes.volumes import Home, claim_body, volume_body
from pgfleet.workers.reservation.pod.refusals import elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator

ID, POD, NS = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "gpu-dev-mmloahe6du", "gpu-dev"
H100: Any = SimpleNamespace(max_gpus=8, cpus=192, memory_gb=2048)
CPU: Any = SimpleNamespace(max_gpus=0, cpus=32, memory_gb=64)
HOME = Home(f"{POD}-home", ID, POD, "vol-0123456789abcdef0", 100, "us-east-2a")
GANG = Gang(ID, [POD, "gpu-dev-another000"], 2, {"topology.kubernetes.io/zone": "us-east-2a"})
# All that an operator may add to it.
RICH: dict[str, Any] = {
    "metadata": {"labels": {"team": "research"}, "annotations": {"acme.com/cost": "7"}},
    "spec": {
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "pgfleet-reservation",
        "runtimeClassName": "nvidia",
        "securityContext": {"fsGroup": 1000},
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "shared-data"}},
            {"name": "more", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "ca", "configMap": {"name": "shared-ca"}},
            {"name": "token", "secret": {"secretName": "shared-token"}},
        ],
        "containers": [
            {
                "name": "gpu-dev",
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "shared-token", "key": "a"}}},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "all"},
                ],
                "envFrom": [{"configMapRef": {"name": "shared-settings"}}],
                "securityContext": {"runAsUser": 0},
                "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True, "subPath": "a"}],
            }
        ],
    },
}


@dataclass(frozen=True)
class Body:
    """`made_by` is the function that makes it, and `of` what it is made of."""

    resource: str
    made_by: str
    of: str
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.made_by} of {self.of}"


def row(**given: Any) -> Any:
    plain: dict[str, Any] = {"env_vars": {}, "dockerimage": None, "command": None, "preserve_entrypoint": False}
    asked = {"reservation_id": ID, "pod_name": POD, "gpu_type": "h100", "gpu_count": 2}
    return SimpleNamespace(**(plain | asked | given))


def bodies() -> list[Body]:
    return [*_pods(), *_belongings()]


def makers() -> set[str]:
    """The functions of the client that make bodies, by their names."""
    found = set()
    for module in pkgutil.walk_packages(kubernetes.__path__, f"{kubernetes.__name__}."):
        for name, _ in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction):
            if name.endswith("_body") or name.startswith("plain_"):
                found.add(name)
    return found


def _pods() -> Iterator[Body]:
    plain, rich = (Template("acme/dev:1", NS, pod) for pod in ({}, RICH))
    wrote = {"env_vars": {"A": "$(B)", "NVIDIA_VISIBLE_DEVICES": "all"}, "command": "sleep 1", "dockerimage": "mine:1"}
    cpu = row(gpu_type="cpu-x86", gpu_count=0, **wrote)
    for name, template in {"": plain, " and a template": rich}.items():
        yield Body("pods", "pod_body", f"GPUs{name}", pod_body(row(**wrote), H100, template))
        yield Body("pods", "pod_body", f"GPUs and a disk{name}", pod_body(row(), H100, template, home=True))
        yield Body("pods", "pod_body", f"no GPUs{name}", pod_body(cpu, CPU, template))
        yield Body("pods", "pod_body", f"nodes to avoid{name}", elsewhere(pod_body(row(), H100, template), ["node-1"]))
        of_gang = in_gang(pod_body(row(), H100, template), GANG, 1, "ssh-ed25519 A")
        yield Body("pods", "pod_body", f"a gang{name}", of_gang)
        entry = row(command="x", preserve_entrypoint=True)
        yield Body("pods", "pod_body", f"arguments{name}", pod_body(entry, H100, template))
        yield Body("pods", "plain_pod", f"nobody{name}", plain_pod(template))
        yield Body("pods", "plain_pod_like", f"nobody{name}", plain_pod_like(cpu, CPU, template))


def _belongings() -> Iterator[Body]:
    yield Body("services", "ssh_service_body", "a pod", ssh_service_body(row(), "uid-1", NS))
    yield Body("services", "jupyter_service_body", "a pod", jupyter_service_body(row(), "uid-1", NS))
    yield Body("services", "plain_service", "nobody", plain_service(NS))
    yield Body("configmaps", "keys_body", "a pod", keys_body(row(), "uid-1", ["ssh-rsa A"], NS, ["b"]))
    yield Body("configmaps", "plain_keys", "nobody", plain_keys(NS))
    pair = KeyPair("ssh-ed25519 A", "secret")
    yield Body("services", "headless_body", "a gang", headless_body(row(), "uid-1", NS))
    yield Body("configmaps", "public_body", "a gang", public_body(GANG, pair.public, NS))
    yield Body("secrets", "secret_body", "a gang", secret_body(GANG, pair, "uid-1", NS))
    yield Body("networkpolicies", "policy_body", "a gang", policy_body(GANG, pair.public, "uid-1", NS))
    yield Body("persistentvolumes", "volume_body", "a home", volume_body(HOME, NS))
    yield Body("persistentvolumeclaims", "claim_body", "a home", claim_body(HOME, NS))
