"""What the watch tells of pods, services and nodes: kept for the steps of this process, and written down for all.

It is kept first: whoever gets a turn because of what was written finds it here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pgfleet.workers.clients.kubernetes.names import headless_name, ssh_name
from pgfleet.workers.clients.kubernetes.pod import (
    NodeState,
    PodState,
    ServiceState,
    node_state,
    pod_state,
    service_state,
)
from pgfleet.workers.clients.kubernetes.template.taints import Toleration
from pgfleet.workers.clients.kubernetes.watch.nodes import GpuNode, gpu_node, pod_place
from pgfleet.workers.clients.kubernetes.watch.seen import Things, fingerprint
from pgfleet.workers.reservation.cluster.book import Book

# Others are looked for with each look at the pod.
MADE_AGAIN = (ssh_name(""), headless_name(""))


@dataclass
class PodFollower:
    """Pods of reservations, of one namespace."""

    known: Things[PodState]
    book: Book
    namespace: str
    listed_at: datetime | None = field(default=None, init=False)
    _listed: list[tuple[PodState, dict[str, Any]]] = field(default_factory=list, init=False)

    def begin(self) -> None:
        self.listed_at, self._listed = self.book.now(), []

    def listed(self, things: Sequence[Any]) -> None:
        self._listed += [(pod_state(pod), _as_written(pod)) for pod in things]

    def whole(self) -> None:
        listed, self._listed = self._listed, []
        self.known.put_all(state for state, _ in listed)
        self.book.pods([written for _, written in listed], self.namespace, self.listed_at)

    def changed(self, thing: Any) -> None:
        self.known.put(pod_state(thing))
        self.book.pods([_as_written(thing)], self.namespace)

    def removed(self, thing: Any) -> None:
        self.known.drop(thing.metadata.name)
        self.book.pods([{**_as_written(thing), "is_gone": True}], self.namespace)


def _as_written(pod: Any) -> dict[str, Any]:
    state = pod_state(pod)
    return {
        "uid": state.uid,
        "name": state.name,
        "reservation_id": state.reservation_id,
        **pod_place(pod),
        "phase": state.phase,
        "is_ready": state.ready,
        "is_deleting": state.deleting,
        "fingerprint": fingerprint(state),
        "version": pod.metadata.resource_version,
    }


@dataclass
class ServiceFollower:
    """Services of reservations: where one goes before its pod, the pod's row is told."""

    known: Things[ServiceState]
    book: Book
    _listed: list[ServiceState] = field(default_factory=list, init=False)

    def begin(self) -> None:
        self._listed = []

    def listed(self, things: Sequence[Any]) -> None:
        self._listed += map(service_state, things)

    def whole(self) -> None:
        """A list is not written: the step of a row whose service is not known asks for it."""
        listed, self._listed = self._listed, []
        self.known.put_all(listed)

    def changed(self, thing: Any) -> None:
        self.known.put(service_state(thing))

    def removed(self, thing: Any) -> None:
        service = service_state(thing)
        self.known.drop(service.name)
        if service.owner_uid is not None and service.name.endswith(MADE_AGAIN):
            self.book.service_gone(service.owner_uid, thing.metadata.resource_version)


@dataclass
class NodeFollower:
    """Nodes of GPU types."""

    known: Things[NodeState]
    book: Book
    tolerations: Sequence[Toleration]
    listed_at: datetime | None = field(default=None, init=False)
    _listed: list[tuple[NodeState, GpuNode]] = field(default_factory=list, init=False)

    def begin(self) -> None:
        self.listed_at, self._listed = self.book.now(), []

    def listed(self, things: Sequence[Any]) -> None:
        self._listed += [(node_state(node), gpu_node(node, self.tolerations)) for node in things]

    def whole(self) -> None:
        listed, self._listed = self._listed, []
        self.known.put_all(state for state, _ in listed)
        self.book.nodes([node for _, node in listed], self.listed_at)

    def changed(self, thing: Any) -> None:
        self.known.put(node_state(thing))
        self.book.nodes([gpu_node(thing, self.tolerations)])

    def removed(self, thing: Any) -> None:
        self.known.drop(thing.metadata.name)
        self.book.nodes([gpu_node(thing, self.tolerations)], are_gone=True)
