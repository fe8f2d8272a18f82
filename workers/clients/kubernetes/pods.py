"""Pods and services of reservations, through the official Kubernetes client.

Names and labels come from the row, so that creating twice is creating once. Every error is a TryAgainError or
a NeverError.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kubernetes import client, config
from kubernetes.config import ConfigException

from pgfleet.schema.errors import FleetError
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.kubernetes.answers import asked, every, or_exists, or_none
from pgfleet.workers.clients.kubernetes.pod import RESERVATION_ID, PodState, ServiceState, pod_state, service_state
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

MANAGED = "app.kubernetes.io/managed-by=pgfleet"


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods and services of one namespace. Every call has a timeout well under a lease."""

    api: client.CoreV1Api
    namespace: str
    timeout_s: float

    def find(self, name: str) -> PodState | None:
        """The pod as it is; None where there is none."""
        pod = or_none(lambda: self.api.read_namespaced_pod(name, self.namespace, _request_timeout=self.timeout_s))
        return None if pod is None else pod_state(pod)

    def create(self, body: dict[str, Any]) -> PodState:
        """Create a pod, or adopt the one that an earlier attempt has made for the same reservation.

        Raises:
            NeverError: the name is taken by another reservation's pod.
        """
        name, owner = body["metadata"]["name"], body["metadata"]["annotations"][RESERVATION_ID]
        pod = or_exists(
            lambda: self.api.create_namespaced_pod(
                self.namespace, client.V1Pod.model_validate(body), _request_timeout=self.timeout_s
            )
        )
        found = pod_state(pod) if pod is not None else self.find(name)
        if found is None:
            raise TryAgainError(f"pod {name} was there and is gone again")
        if found.reservation_id != owner:
            raise NeverError(f"the name {name} is taken by a pod of another reservation")
        return found

    def delete(self, name: str, uid: str) -> None:
        """Ask for the deletion of exactly this pod; it may be gone already."""
        options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=uid))
        or_none(
            lambda: self.api.delete_namespaced_pod(name, self.namespace, body=options, _request_timeout=self.timeout_s)
        )

    def managed(self) -> list[PodState]:
        """Every pod that this program has made, page by page."""
        listed = every(self.api.list_namespaced_pod, self.namespace, label_selector=MANAGED, timeout_s=self.timeout_s)
        return [pod_state(pod) for pod in listed]

    def scheduling_failures(self, name: str, uid: str) -> int:
        """How often the scheduler has said that it finds no node for the pod."""
        selector = f"involvedObject.name={name},involvedObject.uid={uid},reason=FailedScheduling"
        events = asked(
            lambda: self.api.list_namespaced_event(
                self.namespace, field_selector=selector, _request_timeout=self.timeout_s
            )
        )
        return sum(_times(event) for event in events.items)

    def create_service(self, body: dict[str, Any]) -> ServiceState:
        """Create a pod's service, or adopt the one that an earlier attempt has made for the same pod.

        Raises:
            TryAgainError: the one that is there belongs to an older pod; its deletion has been asked for.
        """
        name, owner_uid = body["metadata"]["name"], body["metadata"]["ownerReferences"][0]["uid"]
        service = or_exists(
            lambda: self.api.create_namespaced_service(
                self.namespace, client.V1Service.model_validate(body), _request_timeout=self.timeout_s
            )
        )
        if service is None:
            service = or_none(
                lambda: self.api.read_namespaced_service(name, self.namespace, _request_timeout=self.timeout_s)
            )
        if service is None:
            raise TryAgainError(f"service {name} was there and is gone again")
        found = service_state(service)
        if found.owner_uid != owner_uid:
            self.delete_service(name)
            raise TryAgainError(f"service {name} of an older pod has to go first")
        return found

    def services(self, pod: str, reservation_id: str) -> list[str]:
        """The names of all services of a reservation's pod; another's of the same pod name are not among them."""
        listed = asked(
            lambda: self.api.list_namespaced_service(
                self.namespace, label_selector=f"reservation={pod}", _request_timeout=self.timeout_s
            )
        )
        found = [service_state(service) for service in listed.items]
        return [service.name for service in found if service.reservation_id == reservation_id]

    def delete_service(self, name: str) -> None:
        or_none(lambda: self.api.delete_namespaced_service(name, self.namespace, _request_timeout=self.timeout_s))

    def node_addresses(self, node: str) -> dict[str, str]:
        """A node's addresses by type: `ExternalIP`, `InternalIP`."""
        found = asked(lambda: self.api.read_node(node, _request_timeout=self.timeout_s))
        return {address.type: address.address for address in (found.status.addresses if found.status else None) or []}


@contextmanager
def connected(settings: Settings) -> Iterator[Pods]:
    """The cluster that a worker serves: its kubeconfig if the settings name one, else the one it runs in.

    Raises:
        FleetError: neither can be used; the message says what to set.
    """
    configuration = client.Configuration()
    try:
        if settings.kubeconfig:
            config.load_kube_config(settings.kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise FleetError(
            f"No Kubernetes cluster to work with: {error}\n"
            "Set PGFLEET_KUBECONFIG to a kubeconfig file, or run the worker inside a cluster."
        ) from None
    configuration.retries = False
    configuration.connection_pool_maxsize = settings.effect_threads
    with client.ApiClient(configuration) as api_client:
        yield Pods(client.CoreV1Api(api_client), settings.namespace, settings.kubernetes_timeout_s)


def _times(event: Any) -> int:
    """An event's repeats are in `count`, or in its series where the scheduler writes the newer kind."""
    return max(event.count or 0, event.series.count or 0 if event.series else 0, 1)
