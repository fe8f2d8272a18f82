"""Pods of reservations, their services and keys, through the official Kubernetes client.

Names and labels come from the row, so that creating twice is creating once. Every error is one of ours: NotNowError and
NoPlaceError where it is not the row's, else TryAgainError or NeverError.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kubernetes import client

from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.bodies import beginning
from pgfleet.workers.clients.kubernetes.answers import SOON_S, asked, every, or_exists, or_none
from pgfleet.workers.clients.kubernetes.connection import credentials_of
from pgfleet.workers.clients.kubernetes.guarded import GuardedClient
from pgfleet.workers.clients.kubernetes.names import CONTAINER, WITHOUT_KEYS, keys_name, managed, of_fleet, stamped
from pgfleet.workers.clients.kubernetes.pod import (
    RESERVATION_ID,
    NodeState,
    PodState,
    ServiceState,
    node_state,
    pod_state,
    service_state,
)
from pgfleet.workers.clients.kubernetes.probe import Probe
from pgfleet.workers.clients.kubernetes.status.events import Events, by_the_way
from pgfleet.workers.clients.kubernetes.status.logs import LOG_LINES, last_lines
from pgfleet.workers.clients.kubernetes.template.reading import Template
from pgfleet.workers.clients.kubernetes.template.taints import OF_GPUS, Toleration, tolerations_of
from pgfleet.workers.clients.kubernetes.volumes import owner_of
from pgfleet.workers.clients.kubernetes.watch.nodes import pod_place
from pgfleet.workers.clients.kubernetes.watch.seen import Seen, fingerprint
from pgfleet.workers.clients.kubernetes.watch.watcher import Resource
from pgfleet.workers.clients.kubernetes.zones import GPU_TYPE
from pgfleet.workers.clients.verdicts import KUBERNETES
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError
from pgfleet.workers.runtime.outside.breakers import Breakers
from pgfleet.workers.runtime.outside.guard import Guard

# For what nothing depends on.
SHORT_S = 3.0
# A limit in bytes is counted from the first of the last lines: it has to leave room for long ones.
LOG_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods and services of a fleet in one namespace. Every call has a timeout well under a lease."""

    api: client.CoreV1Api
    namespace: str
    timeout_s: float
    probe: Probe
    seen: Seen = field(default_factory=Seen)
    fleet: str = ""
    tolerations: Sequence[Toleration] = (OF_GPUS,)

    def look(self, name: str, known: str | None) -> PodState | None:
        """The pod as this process's watch has seen it, if that is what all have seen (`known`), else as it is.

        One that has ended is asked for: it may have been deleted for that, which no watch has seen yet.
        """
        seen = self.seen.pods.find(name)
        is_known = seen is not None and seen.ended is None and fingerprint(seen) == known
        return seen if is_known else self.find(name)

    def look_after(self, name: str, known: str | None) -> PodState | None:
        """The same of a pod that should be well: it is asked for unless it was seen to be ready."""
        seen = self.look(name, known)
        return seen if seen is None or (seen.ready and not seen.deleting) else self.find(name)

    def find(self, name: str) -> PodState | None:
        """The pod as it is; None where there is none."""
        pod = self._read(self.api.read_namespaced_pod, name)
        return None if pod is None else pod_state(pod)

    def place(self, name: str) -> dict[str, Any]:
        """Of what GPU type, on which node and with how many GPUs a pod is; empty where there is none."""
        pod = self._read(self.api.read_namespaced_pod, name)
        return {} if pod is None else pod_place(pod)

    def create(self, body: dict[str, Any]) -> PodState:
        """Create a pod, or adopt the one that an earlier attempt has made for the same reservation.

        Raises:
            NeverError: the name is taken by another reservation's pod.
        """
        name, owner = body["metadata"]["name"], body["metadata"]["annotations"][RESERVATION_ID]
        whole = client.V1Pod.model_validate(stamped(body, self.fleet))
        pod = or_exists(lambda: self.api.create_namespaced_pod(self.namespace, whole, _request_timeout=self.timeout_s))
        found = pod_state(pod) if pod is not None else self.find(name)
        if found is None:
            raise TryAgainError(f"pod {name} was there and is gone again")
        if found.reservation_id != owner:
            raise NeverError(f"the name {name} is taken by a pod of another reservation")
        return found

    def delete(self, name: str, uid: str, *, at_once: bool = False) -> None:
        """Ask for the deletion of exactly this pod; it may be gone already.

        With `at_once` the API forgets it without asking its node, on which it may still run.
        """
        exactly = client.V1Preconditions(uid=uid)
        options = client.V1DeleteOptions(preconditions=exactly, grace_period_seconds=0 if at_once else None)
        or_none(
            lambda: self.api.delete_namespaced_pod(name, self.namespace, body=options, _request_timeout=self.timeout_s)
        )

    def all_pods(self) -> Resource:
        """Every pod that this fleet has made, to be watched."""
        return Resource("pods", "V1Pod", self.api.list_namespaced_pod, (self.namespace,), managed(self.fleet))

    def all_services(self) -> Resource:
        return Resource(
            "services", "V1Service", self.api.list_namespaced_service, (self.namespace,), managed(self.fleet)
        )

    def all_nodes(self) -> Resource:
        """The nodes of every GPU type."""
        return Resource("nodes", "V1Node", self.api.list_node, selector=GPU_TYPE)

    def managed(self) -> list[PodState]:
        """Every pod that this fleet has made, page by page."""
        ours = managed(self.fleet)
        listed = every(self.api.list_namespaced_pod, self.namespace, label_selector=ours, timeout_s=self.timeout_s)
        return [pod_state(pod) for pod in listed]

    @property
    def events(self) -> Events:
        """What they say of pods, past the breaker."""
        return Events(self.probe.api, self.namespace, self._short_s)

    def logs(self, name: str, *, previous: bool = False) -> str | None:
        """The last lines that a pod's container wrote; of the one before the last restart, if there was one.

        None where nobody can say.
        """
        for before in (True, False) if previous else (False,):
            written = by_the_way(partial(self._log, name, previous=before))
            if written is not None:
                return last_lines(written)
        return None

    def _log(self, name: str, *, previous: bool) -> bytes:
        answer: Any = self.probe.api.read_namespaced_pod_log(
            name,
            self.namespace,
            container=CONTAINER,
            previous=previous,
            tail_lines=LOG_LINES,
            limit_bytes=LOG_READ_BYTES,
            _preload_content=False,
            _request_timeout=self._short_s,
        )
        return beginning(answer, LOG_READ_BYTES, self._short_s)

    @property
    def _short_s(self) -> float:
        return min(SHORT_S, self.timeout_s)

    def create_service(self, body: dict[str, Any]) -> ServiceState:
        """Create a pod's service, or adopt the one that an earlier attempt has made for the same pod.

        Raises:
            TryAgainError: the one that is there belongs to an older pod; its deletion has been asked for.
        """
        name, whole = body["metadata"]["name"], client.V1Service.model_validate(stamped(body, self.fleet))
        made = or_exists(
            lambda: self.api.create_namespaced_service(self.namespace, whole, _request_timeout=self.timeout_s)
        )
        service = made or self._read(self.api.read_namespaced_service, name)
        self._check_owner(body, service, self.delete_service)
        return service_state(service)

    def services(self, pod: str, reservation_id: str | None) -> list[str]:
        """The names of all services of a reservation's pod; another's of the same pod name are not among them."""
        listed = asked(
            lambda: self.api.list_namespaced_service(
                self.namespace,
                label_selector=f"reservation={pod},{of_fleet(self.fleet)}",
                _request_timeout=self.timeout_s,
            )
        )
        found = [service_state(service) for service in listed.items]
        return [service.name for service in found if service.reservation_id == reservation_id]

    def delete_service(self, name: str) -> None:
        or_none(lambda: self.api.delete_namespaced_service(name, self.namespace, _request_timeout=self.timeout_s))

    def service(self, name: str, *, seen_too: bool = False) -> ServiceState | None:
        """The service as it is, or with `seen_too` as the watch has seen it; None where there is none."""
        seen = self.seen.services.find(name) if seen_too else None
        if seen is not None:
            return seen
        found = self._read(self.api.read_namespaced_service, name)
        return None if found is None else service_state(found)

    def node(self, name: str) -> NodeState | None:
        """The node as it is, or as the watch has seen it; None where there is none."""
        seen = self.seen.nodes.find(name)
        if seen is not None:
            return seen
        found = or_none(lambda: self.api.read_node(name, _request_timeout=self.timeout_s))
        return None if found is None else node_state(found)

    def has_keys(self, pod: str, pod_uid: str) -> bool:
        """Whether the config map with the SSH keys of exactly this pod is there."""
        return _owner_uid(self.config_map(keys_name(pod))) == pod_uid

    def without_keys(self, pod: str, pod_uid: str) -> list[str]:
        """Whom of its users the config map of exactly this pod has no keys of."""
        found = self.config_map(keys_name(pod))
        said = (found.metadata.annotations or {}).get(WITHOUT_KEYS, "") if _owner_uid(found) == pod_uid else ""
        return [user for user in said.split(",") if user]

    def config_map(self, name: str) -> Any:
        """The client's own; None where there is none."""
        return self._read(self.api.read_namespaced_config_map, name)

    def _read(self, read: Callable[..., Any], name: str) -> Any:
        """What the namespace has of this name; None where there is none."""
        return or_none(lambda: read(name, self.namespace, _request_timeout=self.timeout_s))

    def create_keys(self, body: dict[str, Any]) -> None:
        """Create the config map with the SSH keys of a pod's users, or adopt that of an earlier attempt.

        Raises:
            TryAgainError: the one that is there belongs to an older pod; its deletion has been asked for.
        """
        name, whole = body["metadata"]["name"], client.V1ConfigMap.model_validate(stamped(body, self.fleet))
        made = or_exists(
            lambda: self.api.create_namespaced_config_map(self.namespace, whole, _request_timeout=self.timeout_s)
        )
        self._check_owner(body, made or self.config_map(name), self.delete_keys)

    def keys(self, pod: str, reservation_id: str | None) -> list[str]:
        """The names of the config maps of a reservation's pod; another's of the same pod name are not among them."""
        listed = asked(
            lambda: self.api.list_namespaced_config_map(
                self.namespace,
                label_selector=f"reservation={pod},{of_fleet(self.fleet)}",
                _request_timeout=self.timeout_s,
            )
        )
        return [_name(each) for each in listed.items if owner_of(each) == reservation_id]

    def delete_keys(self, name: str) -> None:
        or_none(lambda: self.api.delete_namespaced_config_map(name, self.namespace, _request_timeout=self.timeout_s))

    def _check_owner(self, body: dict[str, Any], found: Any, delete: Callable[[str], None]) -> None:
        """Raises unless what is there is of the pod that it is to be of; an older pod's is to go."""
        name = body["metadata"]["name"]
        if found is None:
            raise TryAgainError(f"{name} was there and is gone again", after_s=SOON_S)
        if _owner_uid(found) != body["metadata"]["ownerReferences"][0]["uid"]:
            delete(name)
            raise TryAgainError(f"{name} of an older pod has to go first", after_s=SOON_S)


@contextmanager
def connected(settings: Settings, template: Template, breakers: Breakers | None = None) -> Iterator[Pods]:
    """The pods of the cluster that a worker serves. Raises FleetError where its settings lead to none."""
    credentials = credentials_of(settings)
    timeout_s = settings.kubernetes_timeout_s
    with GuardedClient(credentials) as plain:
        probe = Probe(client.CoreV1Api(plain), settings.namespace, timeout_s, template)
        with GuardedClient(credentials, Guard(KUBERNETES, breakers, probe)) as guarded:
            api, tolerations = client.CoreV1Api(guarded), tolerations_of(template)
            yield Pods(api, settings.namespace, timeout_s, probe, fleet=settings.fleet, tolerations=tolerations)


def _name(thing: Any) -> str:
    name: str = thing.metadata.name
    return name


def _owner_uid(thing: Any) -> str | None:
    owners = None if thing is None else thing.metadata.owner_references
    return owners[0].uid if owners else None
