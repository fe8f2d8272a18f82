"""Homes: a reservation's EBS volume as a static PersistentVolume and its claim, and what is in it.

    volume (cluster) <--- claimRef / volumeName ---> claim (namespace) <--- pod, at /home/dev

A volume outlives its claim and a claim its pod, so removal goes the other way: the pod, the claim, the volume.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubernetes import client

from pgfleet.schema.printable import harmless
from pgfleet.workers.clients.kubernetes.answers import SOON_S, every, or_exists, or_none
from pgfleet.workers.clients.kubernetes.exec import Bounds, Commands
from pgfleet.workers.clients.kubernetes.names import HOME, stamped
from pgfleet.workers.clients.kubernetes.template.taints import OF_GPUS, Toleration, closed_by
from pgfleet.workers.clients.kubernetes.volumes import (
    Home,
    Part,
    claim_body,
    claim_part,
    volume_body,
    volume_part,
)
from pgfleet.workers.clients.kubernetes.zones import (
    GPU_TYPE,
    ZONE,
    Machine,
    Together,
    gpus_in_use,
    machine,
    places_together,
    zones_with_room,
)
from pgfleet.workers.runtime.outcomes import NeverError, TryAgainError

__all__ = ["Home", "Homes", "size_of"]

UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
LONGEST_CONTENTS_BYTES = 256 * 1024
SIZE = re.compile(rf"^([0-9]{{1,9}}(?:[.,][0-9]{{1,3}})?[BKMGTPEZY]?)[\t ]+{HOME}$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Homes:
    """The volumes and claims of a fleet's pods in one namespace. Every call has a timeout well under a lease."""

    api: client.CoreV1Api
    namespace: str
    timeout_s: float
    contents_timeout_s: float = 30.0
    fleet: str = ""
    tolerations: Sequence[Toleration] = (OF_GPUS,)
    commands: Commands = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "commands", Commands(self.api, self.namespace, self.timeout_s))

    def make(self, home: Home) -> None:
        """Create volume and claim, or adopt those that an earlier attempt has made.

        Raises:
            NeverError: the name is taken by another reservation's.
            TryAgainError: what is there is of another EBS volume, or of no use any more; it is being deleted.
        """
        claim = self._claim(home.name)
        if claim is not None:  # looked at first: our volume would be bound to any claim of this name
            self._check(home, claim, home.name)
        self._check(home, self._made_volume(home) or self._volume(home.name), home.volume_id)
        if claim is None:
            self._check(home, self._made_claim(home) or self._claim(home.name), home.name)

    def leads_to(self, home: Home) -> bool:
        """Whether the home's volume stands for this EBS volume: that of an older attempt may stand for another."""
        volume = self._volume(home.name)
        return volume is not None and volume.source == home.volume_id and volume.reservation_id == home.reservation_id

    def remove(self, name: str, reservation_id: str | None) -> bool:
        """Ask for the end of a reservation's claim, and of its volume when the claim is gone; True once both are.

        What is another reservation's is left alone.
        """
        claim = self._claim(name)
        if claim is not None and claim.reservation_id == reservation_id:
            if not claim.deleting:
                self._delete(self.api.delete_namespaced_persistent_volume_claim, claim, name, self.namespace)
            return False
        volume = self._volume(name)
        if volume is not None and volume.reservation_id == reservation_id:
            if not volume.deleting:
                self._delete(self.api.delete_persistent_volume, volume, name)
            return False
        return True

    def zones(self, gpu_type: str, gpus: int, kept_to: str | None = None) -> list[str]:
        """The zones in which a pod could go now, the one with the most room first; that of the node it is kept to.

        Raises:
            NeverError: the type's nodes don't say in which zone they are.
        """
        machines = self._machines(gpu_type)
        if machines and not any(each.zone for each in machines):
            raise NeverError(f"no node of {gpu_type} has the label {ZONE}")
        possible = [each for each in machines if kept_to in (None, each.name)]
        return zones_with_room(possible, self._used(possible, gpus), gpus)

    def places(self, gpu_type: str, asked: Together) -> list[dict[str, str]]:
        """Where a gang could go now, as the labels of its nodes; the place with the most room first."""
        machines = self._machines(gpu_type)
        return places_together(machines, self._used(machines, asked.gpus), asked)

    def _machines(self, gpu_type: str) -> list[Machine]:
        nodes = self._each(self.api.list_node, label_selector=f"{GPU_TYPE}={gpu_type}")
        return [machine(node, closed_by(node, self.tolerations)) for node in nodes]

    def _used(self, machines: list[Machine], gpus: int) -> Counter[str]:
        if not machines or not gpus:
            return Counter()
        return gpus_in_use(self._each(self.api.list_namespaced_pod, self.namespace, field_selector=UNFINISHED))

    def contents(self, pod: str) -> str:
        """The size of a pod's home and its first three levels, as text of at most 256 KiB.

        The programs in a pod are its user's: what they write is shown, and believed in nothing.

        Raises:
            TryAgainError: the pod can't be asked now.
        """
        command = ["/bin/sh", "-c", listing(self.contents_timeout_s)]
        written = self.commands.run(pod, command, Bounds(self.contents_timeout_s, LONGEST_CONTENTS_BYTES))
        text = harmless(written.decode("utf-8", "replace"))
        return text.encode()[:LONGEST_CONTENTS_BYTES].decode("utf-8", "ignore")

    def _made_volume(self, home: Home) -> Part | None:
        """None where the name is taken."""
        body = client.V1PersistentVolume.model_validate(stamped(volume_body(home, self.namespace), self.fleet))
        made = or_exists(lambda: self.api.create_persistent_volume(body, _request_timeout=self.timeout_s))
        return volume_part(made) if made else None

    def _made_claim(self, home: Home) -> Part | None:
        """None where the name is taken."""
        body = client.V1PersistentVolumeClaim.model_validate(stamped(claim_body(home, self.namespace), self.fleet))
        made = or_exists(
            lambda: self.api.create_namespaced_persistent_volume_claim(
                self.namespace, body, _request_timeout=self.timeout_s
            )
        )
        return claim_part(made) if made else None

    def _check(self, home: Home, found: Part | None, source: str) -> None:
        """Raises unless what is there is what we would make; its deletion is asked for if it is this reservation's."""
        if found is None:
            raise TryAgainError(f"{home.name} was there and is gone again", after_s=SOON_S)
        if found.reservation_id != home.reservation_id:
            raise NeverError(f"the name {home.name} is taken by a volume or claim of another reservation")
        if found.deleting or not found.usable or found.source != source:
            self.remove(home.name, home.reservation_id)
            raise TryAgainError(f"{home.name} of an earlier attempt has to go first", after_s=SOON_S)

    def _volume(self, name: str) -> Part | None:
        volume = or_none(lambda: self.api.read_persistent_volume(name, _request_timeout=self.timeout_s))
        return None if volume is None else volume_part(volume)

    def _claim(self, name: str) -> Part | None:
        claim = or_none(
            lambda: self.api.read_namespaced_persistent_volume_claim(
                name, self.namespace, _request_timeout=self.timeout_s
            )
        )
        return None if claim is None else claim_part(claim)

    def _delete(self, delete: Callable[..., Any], part: Part, *name: str) -> None:
        """Delete exactly this one; it may be gone already."""
        options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=part.uid))
        or_none(lambda: delete(*name, body=options, _request_timeout=self.timeout_s))

    def _each(self, listed: Callable[..., Any], *where: str, **wanted: str) -> Iterator[Any]:
        return every(listed, *where, timeout_s=self.timeout_s, **wanted)


def size_of(contents: str) -> str | None:
    """What `du -sh` says in a listing, such as 1.2G."""
    found = SIZE.search(contents)
    return found[1] if found else None


def listing(within_s: float) -> str:
    """The command: `du` may be busy for long with many files, and the tree is worth having without a size."""
    du_s, tree_s = max(1, int(within_s * 0.6)), max(1, int(within_s * 0.3))
    return f"""
limited() {{ if command -v timeout >/dev/null; then timeout "$@"; else shift; "$@"; fi; }}
{{
  limited {du_s} du -sh {HOME}
  if command -v tree >/dev/null; then limited {tree_s} tree -L 3 {HOME}
  else limited {tree_s} find {HOME} -maxdepth 3; fi
}} 2>/dev/null | head -c {LONGEST_CONTENTS_BYTES}
"""
