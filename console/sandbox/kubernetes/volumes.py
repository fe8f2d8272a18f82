"""Volumes and claims: they are bound to each other, and neither goes while it is in use.

    claim   Pending ----> Bound ----> Lost        (its volume is gone)
    volume  Available --> Bound ----> Released    (its claim is gone; another claim of that name doesn't get it)

A claim in use by a pod and a volume bound to a claim have a finalizer: deleted, they stay until they are free.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.claims import CLAIMS, VOLUMES, claims_of, volume_of
from pgfleet.console.sandbox.kubernetes.store import FINISHED

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.deletions import Deletions
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Change, Key, Record, Store

PROTECTION = {CLAIMS: "kubernetes.io/pvc-protection", VOLUMES: "kubernetes.io/pv-protection"}
CLAIM_IN_A_POD = b'"persistentVolumeClaim"'


class Volumes:
    def __init__(self, store: Store, deletions: Deletions) -> None:
        self._store = store
        self._deletions = deletions
        self._unbound: dict[Key, None] = {}  # claims
        self._claims: dict[str, tuple[Key, ...]] = {}  # of each pod that is on a node, by uid
        self._users: dict[Key, set[str]] = {}  # the same by claim

    def watch(self, change: Change) -> None:
        match change.record.key[0]:
            case "pods":
                self._see_pod(change)
            case "persistentvolumeclaims":
                self._see_claim(change)
            case "persistentvolumes" if change.kind == "DELETED":
                asyncio.get_running_loop().call_soon(self._lose_claim, change.record)
            case "persistentvolumes":
                asyncio.get_running_loop().call_soon(self._settle)
                self._release_later(change.record)

    def _see_pod(self, change: Change) -> None:
        record = change.record
        if change.kind == "DELETED" or record.fields["status.phase"] in FINISHED:
            for key in self._claims.pop(record.uid, ()):
                users = self._users[key]
                users.discard(record.uid)
                if not users:
                    del self._users[key]
                asyncio.get_running_loop().call_soon(self._release, key)
        elif record.fields["spec.nodeName"] and record.uid not in self._claims and CLAIM_IN_A_POD in record.raw:
            self._claims[record.uid] = claims_of(record.body())
            for key in self._claims[record.uid]:
                self._users.setdefault(key, set()).add(record.uid)

    def _see_claim(self, change: Change) -> None:
        record = change.record
        if change.kind == "DELETED":
            self._unbound.pop(record.key, None)
            asyncio.get_running_loop().call_soon(self._free_volume, record)
            return
        if change.kind == "ADDED":
            self._unbound[record.key] = None
        asyncio.get_running_loop().call_soon(self._settle)
        self._release_later(record)

    def _settle(self) -> None:
        """Binds each claim whose volume is there for it."""
        for key in list(self._unbound):
            claim = self._store.get(key)
            volume = self._volume_for(claim) if claim and not claim.deleting else None
            if claim and volume:
                self._bind(claim, volume)

    def _volume_for(self, claim: Record) -> Record | None:
        """The volume that the claim names; a claim that names none waits for ever."""
        named = volume_of(self._store, claim)
        return named if named is not None and _is_for(named, claim) else None

    def _bind(self, claim: Record, volume: Record) -> None:
        """A user may have set one side of the binding; the other is set to match."""
        del self._unbound[claim.key]
        body, held = claim.body(), volume.body()
        reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        reference |= {"namespace": claim.key[1], "name": claim.key[2], "uid": claim.uid}
        held["spec"]["claimRef"] = reference
        held["status"] = {"phase": "Bound"}
        body["spec"]["volumeName"] = volume.key[2]
        body["status"] = {"phase": "Bound"} | {
            field: held["spec"][field] for field in ("capacity", "accessModes") if field in held["spec"]
        }
        self._store.put(volume, held)
        self._store.put(claim, body)

    def _free_volume(self, claim: Record) -> None:
        volume = volume_of(self._store, claim)
        if volume is None or _claim_of(volume).get("uid") != claim.uid:
            return
        body = volume.body()
        body["status"] = {"phase": "Released"}
        self._release(self._store.put(volume, body).key)

    def _lose_claim(self, volume: Record) -> None:
        reference = _claim_of(volume)
        claim = self._store.get((CLAIMS, reference.get("namespace", ""), reference.get("name", "")))
        if claim is None or claim.uid != reference.get("uid"):
            return
        body = claim.body()
        body["status"] = {"phase": "Lost"}
        self._store.put(claim, body)

    def _release_later(self, record: Record) -> None:
        if record.deleting:
            asyncio.get_running_loop().call_soon(self._release, record.key)

    def _release(self, key: Key) -> None:
        """Removes the finalizer of a volume or claim that is deleted and no longer in use."""
        record = self._store.get(key)
        if record is None or not record.deleting or self._is_in_use(record):
            return
        body = record.body()
        left = [each for each in body["metadata"].get("finalizers") or () if each != PROTECTION[key[0]]]
        body["metadata"]["finalizers"] = left
        self._deletions.finish_if_released(self._store.put(record, body))

    def _is_in_use(self, record: Record) -> bool:
        if record.key[0] == CLAIMS:
            return bool(self._users.get(record.key))
        return bool(record.body()["status"].get("phase") == "Bound")


def _claim_of(volume: Record) -> Object:
    return volume.body()["spec"].get("claimRef") or {}


def _is_for(volume: Record, claim: Record) -> bool:
    """Whether the claim may have the volume: one that was bound before is only for the claim of that uid."""
    reference = _claim_of(volume)
    if volume.deleting:
        return False
    names = (reference.get("namespace"), reference.get("name"))
    return not reference or (names == claim.key[1:] and reference.get("uid") in (None, "", claim.uid))
