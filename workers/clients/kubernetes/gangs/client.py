"""The secret and the network policy of a gang: made for whichever of its pods comes first, adopted by the others."""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kubernetes import client

from pgfleet.workers.clients.kubernetes.answers import asked, or_exists, or_none
from pgfleet.workers.clients.kubernetes.gangs.bodies import Gang, policy_body, secret_body
from pgfleet.workers.clients.kubernetes.gangs.keypair import new_pair
from pgfleet.workers.clients.kubernetes.names import GANG_PUBLIC_KEY, gang_name
from pgfleet.workers.clients.kubernetes.volumes import owner_of
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError


@dataclass(frozen=True, slots=True)
class Gangs:
    """Those of one namespace. Every call has a timeout well under a lease."""

    api: client.CoreV1Api
    namespace: str
    timeout_s: float
    policies: client.NetworkingV1Api = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "policies", client.NetworkingV1Api(self.api.api_client))

    def public_key(self, gang: Gang) -> str:
        """The key that lets each of its nodes in to the others; the pair is made if it isn't there.

        Raises:
            NeverError: the secret's name is taken by another.
            TryAgainError: it is gone again.
        """
        found = self._secret(gang) or self._made_secret(gang) or self._secret(gang)
        if found is None:
            raise TryAgainError(f"secret {gang_name(gang.first)} was there and is gone again")
        if owner_of(found) != gang.reservation_id:
            raise NeverError(f"the name {gang_name(gang.first)} is taken by a secret of another reservation")
        return b64decode((found.data or {})[GANG_PUBLIC_KEY]).decode().strip()

    def let_in(self, gang: Gang) -> None:
        """Its pods may reach each other; what is there already is enough."""
        whole = client.V1NetworkPolicy.model_validate(policy_body(gang, self.namespace))
        or_exists(
            lambda: self.policies.create_namespaced_network_policy(
                self.namespace, whole, _request_timeout=self.timeout_s
            )
        )

    def remove(self, pod: str, reservation_id: str | None) -> list[str]:
        """Ask for the end of what the gang of this first pod has; the names of what was still there."""
        listed = [
            (self.api.list_namespaced_secret, self.api.delete_namespaced_secret),
            (self.policies.list_namespaced_network_policy, self.policies.delete_namespaced_network_policy),
        ]
        return [name for listing, delete in listed for name in self._removed(listing, delete, pod, reservation_id)]

    def _removed(
        self, listing: Callable[..., Any], delete: Callable[..., Any], pod: str, reservation_id: str | None
    ) -> list[str]:
        selector = f"reservation={pod}"
        found = asked(lambda: listing(self.namespace, label_selector=selector, _request_timeout=self.timeout_s))
        names: list[str] = [each.metadata.name for each in found.items if owner_of(each) == reservation_id]
        for name in names:
            or_none(partial(delete, name, self.namespace, _request_timeout=self.timeout_s))
        return names

    def _secret(self, gang: Gang) -> Any:
        name = gang_name(gang.first)
        return or_none(lambda: self.api.read_namespaced_secret(name, self.namespace, _request_timeout=self.timeout_s))

    def _made_secret(self, gang: Gang) -> Any:
        whole = client.V1Secret.model_validate(secret_body(gang, new_pair(), self.namespace))
        return or_exists(
            lambda: self.api.create_namespaced_secret(self.namespace, whole, _request_timeout=self.timeout_s)
        )
