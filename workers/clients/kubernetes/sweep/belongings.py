"""What goes with pods and may be left when they are gone: services, config maps with keys, homes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubernetes import client

from pgfleet.workers.clients.kubernetes.answers import every
from pgfleet.workers.clients.kubernetes.names import managed
from pgfleet.workers.clients.kubernetes.volumes import owner_of

# Every object that we make names its pod in this label.
POD = "reservation"


@dataclass(frozen=True, slots=True)
class Belonging:
    """Something of a pod; `reservation_id` is what it says itself, None where it says nothing."""

    pod: str
    reservation_id: str | None


@dataclass(frozen=True, slots=True)
class Belongings:
    """Those of a fleet's pods in one namespace. Every call has a timeout well under a lease."""

    api: client.CoreV1Api
    namespace: str
    timeout_s: float
    fleet: str = ""

    def in_namespace(self) -> set[Belonging]:
        """Of all that this fleet has made in the namespace beside pods, whose it is."""
        lists = (
            self.api.list_namespaced_service,
            self.api.list_namespaced_config_map,
            self.api.list_namespaced_persistent_volume_claim,
        )
        return {found for listed in lists for found in self._of(listed, self.namespace)}

    def volumes(self) -> set[Belonging]:
        """Of all its volumes for claims of this namespace, whose they are: volumes themselves are in none."""
        return set(self._of(self.api.list_persistent_volume))

    def _of(self, listed: Any, *where: str) -> Iterator[Belonging]:
        for thing in every(listed, *where, label_selector=managed(self.fleet), timeout_s=self.timeout_s):
            pod = (thing.metadata.labels or {}).get(POD)
            if pod and (where or _namespace_of(thing) == self.namespace):
                yield Belonging(pod, owner_of(thing))


def _namespace_of(volume: Any) -> str | None:
    claim = volume.spec.claim_ref if volume.spec else None
    return claim.namespace if claim else None
