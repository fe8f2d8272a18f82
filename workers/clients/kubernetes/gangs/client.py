"""The SSH keys and the network policy of a gang: made once, with its first pod, and adopted by whoever comes later.

    config map with the public key ---owns---> secret with both keys, network policy

What is owned goes when the config map is deleted. A secret is made and never read: by a dry run of its creation it is
known whether it is there. Where it is not, whoever made the config map did not live to make it, and a new pair is made.
"""

from dataclasses import dataclass, field
from typing import Any

from kubernetes import client

from pgfleet.workers.clients.kubernetes.answers import or_exists, or_none
from pgfleet.workers.clients.kubernetes.gangs.bodies import Gang, policy_body, public_body, secret_body
from pgfleet.workers.clients.kubernetes.gangs.keypair import KeyPair, new_pair
from pgfleet.workers.clients.kubernetes.names import KEYS_FILE, gang_name, stamped
from pgfleet.workers.clients.kubernetes.volumes import owner_of
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

SOON_S = 1.0


@dataclass(frozen=True, slots=True)
class Gangs:
    """Those of one namespace. Every call has a timeout well under a lease."""

    api: client.CoreV1Api
    namespace: str
    timeout_s: float
    fleet: str = ""
    policies: client.NetworkingV1Api = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "policies", client.NetworkingV1Api(self.api.api_client))

    def public_key(self, gang: Gang) -> str | None:
        """The key that lets each of its nodes in to the others; None where none was made.

        Raises:
            NeverError: the name is taken by another.
        """
        found = self._public(gang)
        return None if found is None else _key(found)

    def make(self, gang: Gang) -> str:
        """Make its keys and its policy, or adopt those of an earlier attempt; its public key.

        Raises:
            NeverError: the name is taken by another.
            TryAgainError: an earlier attempt has left half of it, which is being deleted.
        """
        found = self._public(gang)
        if found is None:
            return self._make(gang, new_pair())
        if self._made_secret(gang, KeyPair(_key(found), ""), found.metadata.uid, dry_run="All"):
            self._delete(found)
            raise TryAgainError("the keys of its gang were made by half, and are made anew", after_s=SOON_S)
        self._let_in(gang, _key(found), found.metadata.uid)
        return _key(found)

    def _make(self, gang: Gang, pair: KeyPair) -> str:
        whole = client.V1ConfigMap.model_validate(stamped(public_body(gang, pair.public, self.namespace), self.fleet))
        made: Any = or_exists(
            lambda: self.api.create_namespaced_config_map(self.namespace, whole, _request_timeout=self.timeout_s)
        )
        if made is None:
            raise TryAgainError("the keys of its gang are being made", after_s=SOON_S)
        self._made_secret(gang, pair, made.metadata.uid)
        self._let_in(gang, pair.public, made.metadata.uid)
        return pair.public

    def _made_secret(self, gang: Gang, pair: KeyPair, owner_uid: str, dry_run: str | None = None) -> Any:
        """None where it is there already."""
        whole = client.V1Secret.model_validate(stamped(secret_body(gang, pair, owner_uid, self.namespace), self.fleet))
        return or_exists(
            lambda: self.api.create_namespaced_secret(
                self.namespace, whole, dry_run=dry_run, _request_timeout=self.timeout_s
            )
        )

    def _let_in(self, gang: Gang, public_key: str, owner_uid: str) -> None:
        """Its pods may reach each other."""
        body = policy_body(gang, public_key, owner_uid, self.namespace)
        whole = client.V1NetworkPolicy.model_validate(stamped(body, self.fleet))
        or_exists(
            lambda: self.policies.create_namespaced_network_policy(
                self.namespace, whole, _request_timeout=self.timeout_s
            )
        )

    def _public(self, gang: Gang) -> Any:
        name = gang_name(gang.first)
        found = or_none(
            lambda: self.api.read_namespaced_config_map(name, self.namespace, _request_timeout=self.timeout_s)
        )
        if found is not None and owner_of(found) != gang.reservation_id:
            raise NeverError(f"the name {name} is taken by a config map of another reservation")
        return found

    def _delete(self, found: Any) -> None:
        exactly = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=found.metadata.uid))
        or_none(
            lambda: self.api.delete_namespaced_config_map(
                found.metadata.name, self.namespace, body=exactly, _request_timeout=self.timeout_s
            )
        )


def _key(found: Any) -> str:
    key: str = (found.data or {})[KEYS_FILE]
    return key.strip()
