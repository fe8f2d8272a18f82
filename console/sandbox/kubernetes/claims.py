"""A pod's claims: which volumes they are bound to, and on which nodes those can be attached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.affinities import selects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Key, Record, Store

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a pod with claims can go; `missing` says why nowhere, as kube-scheduler does."""

    missing: str = ""
    affinities: tuple[Object, ...] = ()

    def includes(self, labels: Mapping[str, str]) -> bool:
        return all(selects(affinity, labels) for affinity in self.affinities)


ANYWHERE = Reach()


def claims_of(pod: Object) -> tuple[Key, ...]:
    namespace = pod["metadata"].get("namespace", "")
    claims = [volume.get("persistentVolumeClaim") for volume in pod["spec"].get("volumes") or ()]
    return tuple((CLAIMS, namespace, claim["claimName"]) for claim in claims if claim)


def volume_of(store: Store, claim: Record) -> Record | None:
    """The volume that a claim names, bound or not."""
    name = claim.body()["spec"].get("volumeName")
    return store.get((VOLUMES, "", name)) if name else None


def handle_of(volume: Record) -> str:
    """The driver's id of the volume; empty for one without a driver."""
    return str((volume.body()["spec"].get("csi") or {}).get("volumeHandle", ""))


def reach_of(store: Store, claims: Iterable[Key]) -> Reach:
    affinities = []
    for key in claims:
        claim = store.get(key)
        if claim is None:
            return Reach(f'persistentvolumeclaim "{key[2]}" not found')
        if claim.deleting:
            return Reach(f'persistentvolumeclaim "{key[2]}" is being deleted')
        volume = volume_of(store, claim)
        if volume is None or claim.body()["status"].get("phase") != "Bound":
            return Reach(UNBOUND)
        affinities.append((volume.body()["spec"].get("nodeAffinity") or {}).get("required"))
    return Reach("", tuple(affinity for affinity in affinities if affinity))
