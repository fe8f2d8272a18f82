"""What a pod template may say: what pgfleet itself decides is refused by its name."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pgfleet.workers.clients.kubernetes.names import (
    CONTAINER,
    FLEET,
    GANG_FOLDER,
    GANG_LABEL,
    HOME,
    KEYS_FOLDER,
    OURS_IN_ENV,
)
from pgfleet.workers.clients.kubernetes.template.security import OF_CONTAINER_IN_TEMPLATE, OF_POD_IN_TEMPLATE
from pgfleet.workers.clients.kubernetes.template.sources import env_mistakes, volume_mistakes
from pgfleet.workers.clients.kubernetes.zones import GPU, GPU_TYPE

POD = frozenset({"apiVersion", "kind", "metadata", "spec"})
METADATA = frozenset({"annotations", "labels"})
SPEC = frozenset(
    {
        "affinity",
        "containers",
        "dnsConfig",
        "dnsPolicy",
        "hostAliases",
        "imagePullSecrets",
        "nodeSelector",
        "priorityClassName",
        "runtimeClassName",
        "schedulerName",
        "securityContext",
        "tolerations",
        "topologySpreadConstraints",
        "volumes",
    }
)
OF_CONTAINER = frozenset({"env", "envFrom", "imagePullPolicy", "name", "resources", "securityContext", "volumeMounts"})
# No subPathExpr, which a variable of the user's may lead to the folder of another; no propagation of mounts.
OF_MOUNT = frozenset({"mountPath", "name", "readOnly", "subPath"})
OUR_LABELS = frozenset({"reservation", GANG_LABEL, FLEET, "app.kubernetes.io/managed-by"})
OUR_VOLUMES = frozenset({"gang", "home", "keys"})
OUR_MOUNTS = frozenset({GANG_FOLDER, HOME, KEYS_FOLDER})
# Annotations that are part of a pod's security, or give it devices.
UNCONFINING = (
    "cdi.k8s.io/",
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "nvidia.cdi.k8s.io/",
    "seccomp.security.alpha.kubernetes.io/",
)
# Of these a request alone would leave a container without a limit, at the cost of its neighbours.
LIMITED = frozenset({"ephemeral-storage", "memory"})
SYSTEM = "system-"
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{NAME}")
LABEL_VALUE = re.compile(rf"({NAME})?")


def mistakes(template: Mapping[str, Any]) -> Iterator[str]:
    """What a template says that it may not, or that no API server would take: the field, and why."""
    yield from _fields("", template, POD)
    if template.get("kind", "Pod") != "Pod" or template.get("apiVersion", "v1") != "v1":
        yield "kind: a pod template is a Pod of v1"
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    yield from _fields("metadata.", metadata, METADATA)
    yield from _fields("spec.", spec, SPEC)
    yield from _labels(metadata.get("labels") or {}, metadata.get("annotations") or {})
    if GPU_TYPE in (spec.get("nodeSelector") or {}):
        yield f"spec.nodeSelector.{GPU_TYPE}: is decided by pgfleet"
    yield from _fields("spec.securityContext.", spec.get("securityContext") or {}, OF_POD_IN_TEMPLATE)
    if (spec.get("priorityClassName") or "").startswith(SYSTEM):
        yield f"spec.priorityClassName: classes called {SYSTEM}... are for the cluster itself"
    yield from _ours("spec.volumes", "name", spec.get("volumes"), OUR_VOLUMES)
    yield from volume_mistakes(spec.get("volumes") or ())
    for container in spec.get("containers") or ():
        yield from _container(container)


def _fields(where: str, given: Mapping[str, Any], allowed: frozenset[str]) -> Iterator[str]:
    for field in sorted(set(given) - allowed):
        yield f"{where}{field}: a pod template may not set it; it may set {', '.join(sorted(allowed))}"


def _labels(labels: Mapping[str, str], annotations: Mapping[str, str]) -> Iterator[str]:
    for key in labels:
        if key in OUR_LABELS:
            yield f"metadata.labels.{key}: is decided by pgfleet"
        elif not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(labels[key]):
            yield f"metadata.labels.{key}: is no label that Kubernetes takes"
    for key in annotations:
        if key.startswith(("pgfleet/", *UNCONFINING)):
            yield f"metadata.annotations.{key}: is decided by pgfleet"
        elif not LABEL_KEY.fullmatch(key):
            yield f"metadata.annotations.{key}: is no annotation that Kubernetes takes"


def _container(container: Mapping[str, Any]) -> Iterator[str]:
    where = f"spec.containers.{container['name']}"
    if container["name"] != CONTAINER:
        yield f"{where}: the only container of a pod is {CONTAINER}"
        return
    yield from _fields(f"{where}.", container, OF_CONTAINER)
    yield from _ours(f"{where}.env", "name", container.get("env"), OURS_IN_ENV)
    yield from _ours(f"{where}.volumeMounts", "mountPath", container.get("volumeMounts"), OUR_MOUNTS)
    yield from env_mistakes(where, container)
    for mount in container.get("volumeMounts") or ():
        yield from _fields(f"{where}.volumeMounts.{mount['mountPath']}.", mount, OF_MOUNT)
    yield from _fields(f"{where}.securityContext.", container.get("securityContext") or {}, OF_CONTAINER_IN_TEMPLATE)
    yield from _resources(f"{where}.resources", container.get("resources") or {})


def _resources(where: str, resources: Mapping[str, Any]) -> Iterator[str]:
    for part, amounts in resources.items():
        yield from _amounts(f"{where}.{part}", amounts)
    for name in sorted(LIMITED & (resources.get("requests") or {}).keys() - (resources.get("limits") or {}).keys()):
        yield f"{where}.limits.{name}: is needed where a request is given"


def _ours(where: str, key: str, given: list[dict[str, Any]] | None, ours: frozenset[str]) -> Iterator[str]:
    for each in given or ():
        if each[key].rstrip("/") in ours:
            yield f"{where}.{each[key]}: is decided by pgfleet"


def _amounts(where: str, amounts: Any) -> Iterator[str]:
    if not isinstance(amounts, Mapping):
        yield f"{where}: a pod template may not set it"
        return
    for name, amount in amounts.items():
        if name == GPU:
            yield f"{where}.{name}: is decided by pgfleet"
        elif not QUANTITY.fullmatch(amount):
            yield f"{where}.{name}: {amount} is no quantity; such as 500m or 16Gi"
