"""What the program needs to know of a node, and the GPUs that pods have on nodes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kubernetes import client

from pgfleet.workers.clients.kubernetes.answers import every
from pgfleet.workers.clients.kubernetes.names import made_by_others
from pgfleet.workers.clients.kubernetes.template.taints import OF_GPUS, Toleration, closed_by
from pgfleet.workers.clients.kubernetes.zones import GPU_TYPE, ZONE, amount

INSTANCE_TYPE = "node.kubernetes.io/instance-type"


@dataclass(frozen=True, slots=True)
class GpuNode:
    """A node as it was when it was read.

    Attributes:
        gpus: those that pods can have, if they are free.
        problem: why it takes no pod now; None where it does.
        addresses: by type, `InternalIP` say; of each as many as it has.
    """

    name: str
    gpu_type: str
    instance_type: str | None
    zone: str | None
    gpus: int
    is_ready: bool
    is_cordoned: bool
    problem: str | None
    addresses: dict[str, list[str]]
    version: str


def gpu_node(node: Any, tolerations: Iterable[Toleration] = (OF_GPUS,)) -> GpuNode:
    """The parts of a `V1Node` that matter to pods with these tolerations."""
    labels, status, spec = node.metadata.labels or {}, node.status, node.spec
    ready = next((each for each in (status.conditions if status else None) or [] if each.type == "Ready"), None)
    is_ready = ready is not None and ready.status == "True"
    is_cordoned = bool(spec and spec.unschedulable)
    addresses: dict[str, list[str]] = {}
    for address in (status.addresses if status else None) or []:
        addresses.setdefault(address.type, []).append(address.address)
    return GpuNode(
        name=node.metadata.name,
        gpu_type=labels.get(GPU_TYPE, ""),
        instance_type=labels.get(INSTANCE_TYPE),
        zone=labels.get(ZONE),
        gpus=amount((status.allocatable if status else None) or {}),
        is_ready=is_ready,
        is_cordoned=is_cordoned,
        problem=_problem(node, ready, tolerations, is_ready=is_ready, is_cordoned=is_cordoned),
        addresses=addresses,
        version=node.metadata.resource_version or "",
    )


def _problem(
    node: Any, ready: Any, tolerations: Iterable[Toleration], *, is_ready: bool, is_cordoned: bool
) -> str | None:
    if node.metadata.deletion_timestamp is not None:
        return "is being deleted"
    if not is_ready:
        silent = ready is None or ready.status == "Unknown"
        return "does not answer" if silent else f"is not ready: {ready.message or ready.reason or 'no reason is known'}"
    if is_cordoned:
        return "is cordoned"
    closed = closed_by(node, tolerations)
    return None if closed is None else f"is tainted {closed}"


def pod_gpus(pod: Any) -> int:
    """How many GPUs a `V1Pod` has, or wants: of its containers together, and of each that only begins it."""
    first = [_gpus(container) for container in pod.spec.init_containers or []]
    return max(sum(_gpus(container) for container in pod.spec.containers), *first, 0)


def _gpus(container: Any) -> int:
    """A GPU is requested as it is limited; who makes a pod may write either."""
    resources = container.resources
    return max(amount(resources.requests or {}), amount(resources.limits or {})) if resources else 0


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of GPU types, and what pods have of them that are not ours."""

    api: client.CoreV1Api
    namespace: str
    timeout_s: float
    fleet: str = ""
    tolerations: Sequence[Toleration] = (OF_GPUS,)

    def all(self) -> list[GpuNode]:
        return [gpu_node(node, self.tolerations) for node in self._each(self.api.list_node, label_selector=GPU_TYPE)]

    def used_by_others(self) -> Counter[str]:
        """GPUs by node, of pods of other namespaces and of those of ours that this fleet has not made."""
        theirs = f"metadata.namespace!={self.namespace},status.phase!=Succeeded,status.phase!=Failed"
        used: Counter[str] = Counter()
        for pod in self._each(self.api.list_pod_for_all_namespaces, field_selector=theirs):
            _count(used, pod)
        for selector in made_by_others(self.fleet):
            for pod in self._each(self.api.list_namespaced_pod, self.namespace, label_selector=selector):
                _count(used, pod)
        return used

    def _each(self, listed: Callable[..., Any], *where: str, **wanted: str) -> Iterator[Any]:
        return every(listed, *where, timeout_s=self.timeout_s, **wanted)


def _count(used: Counter[str], pod: Any) -> None:
    if pod.spec.node_name and not (pod.status and pod.status.phase in ("Succeeded", "Failed")):
        used[pod.spec.node_name] += pod_gpus(pod)


def pod_place(pod: Any) -> dict[str, Any]:
    """Of what GPU type, on which node and with how many GPUs a `V1Pod` is."""
    return {
        "gpu_type": (pod.spec.node_selector or {}).get(GPU_TYPE),
        "node_name": pod.spec.node_name,
        "gpus": pod_gpus(pod),
    }
