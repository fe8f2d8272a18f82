r"""Deletion: grace periods, finalizers, and the garbage collection of what the deleted owned.

delete ----> deletionTimestamp set ----> process ended ----> finalizers gone ----> removed
   \                                                                                ^
    +------ grace 0, or nothing to wait for ----------------------------------------+

A process ends only where its kubelet works: on a node that is silent a pod stays, marked, until the node comes back,
is gone, or somebody deletes the pod without grace.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.resources import RESOURCES
from pgfleet.console.sandbox.kubernetes.selectors import parse_selector
from pgfleet.console.sandbox.kubernetes.statuses import KILLED_BY_SIGNAL, ended
from pgfleet.console.sandbox.kubernetes.store import FINISHED, timestamp

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.machines import Machines
    from pgfleet.console.sandbox.kubernetes.resources import Object
    from pgfleet.console.sandbox.kubernetes.store import Change, Key, Record, Store


class Deletions:
    """`termination_delay_s` is how long a pod's process takes to end after it was told to."""

    def __init__(self, store: Store, machines: Machines, termination_delay_s: float) -> None:
        self._store = store
        self._machines = machines
        self._termination_delay_s = termination_delay_s

    def delete(self, record: Record, grace_s: int | None = None, *, dry_run: bool = False) -> Record:
        """The object as the deletion leaves it: marked, or its last version."""
        waits_s = self._grace_s(record, grace_s)
        if dry_run:
            is_marked = waits_s > 0 or record.body()["metadata"].get("finalizers")
            return record.changed(_marked(record, waits_s)) if is_marked else record
        if waits_s == 0:
            return self._end(record)
        marked = self._mark(record, waits_s)
        delay_s = min(self._termination_delay_s, waits_s)
        asyncio.get_running_loop().call_later(delay_s, self._end_process, record.key, record.uid)
        return marked

    def finish_if_released(self, record: Record) -> None:
        """Removes an object whose last finalizer is gone; called after every update."""
        if not record.deleting:
            return
        metadata = record.body()["metadata"]
        if not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds"):
            self._store.remove(record)

    def watch(self, change: Change) -> None:
        loop = asyncio.get_running_loop()
        record = change.record
        if change.kind == "DELETED":
            loop.call_soon(self._collect_dependents, record.uid)
        elif record.owners and (change.before is None or change.before.owners != record.owners):
            loop.call_soon(self._collect_if_ownerless, record.key, record.uid)

    def _grace_s(self, record: Record, asked_s: int | None) -> int:
        """Only a pod that runs has anything to wait for."""
        fields = record.fields
        if record.key[0] != "pods" or not fields["spec.nodeName"] or fields["status.phase"] in FINISHED:
            return 0
        body = record.body()
        grace_s = asked_s if asked_s is not None else body["spec"].get("terminationGracePeriodSeconds", 30)
        if record.deleting:
            grace_s = min(grace_s, body["metadata"]["deletionGracePeriodSeconds"])
        return max(0, int(grace_s))

    def _mark(self, record: Record, grace_s: int) -> Record:
        """The same object where nothing of it changes."""
        return self._store.put(record, _marked(record, grace_s))

    def resume(self, node: str) -> None:
        """A kubelet that was silent ends what was deleted meanwhile."""
        selector = parse_selector("", f"spec.nodeName={node}", RESOURCES["pods"])
        for record in self._store.select("pods", "", selector):
            if record.deleting:
                self._end_process(record.key, record.uid)

    def _end_process(self, key: Key, uid: str) -> None:
        record = self._store.get(key)
        if record and record.uid == uid and self._machines.can_end(record):
            self._end(self._killed(record))

    def _killed(self, record: Record) -> Record:
        """Its containers have ended, which a finalizer lets one see."""
        body = record.body()
        if record.fields["status.phase"] in FINISHED or not body["status"].get("containerStatuses"):
            return record
        ended(body, self._machines.now(record.fields["spec.nodeName"]), KILLED_BY_SIGNAL)
        return self._store.put(record, body)

    def _end(self, record: Record) -> Record:
        if not record.body()["metadata"].get("finalizers"):
            return self._store.remove(record)
        if record.key[0] == "pods" and self._machines.can_end(record):
            record = self._killed(record)
        return self._mark(record, 0)

    def _collect_dependents(self, owner_uid: str) -> None:
        for dependent in self._store.dependents(owner_uid):
            self._collect_if_ownerless(dependent.key, dependent.uid)

    def _collect_if_ownerless(self, key: Key, uid: str) -> None:
        record = self._store.get(key)
        if record is None or record.uid != uid or record.deleting or not record.owners:
            return
        if not any(self._is_alive(owner, record) for owner in record.owners):
            self.delete(record)

    def _is_alive(self, owner_uid: str, dependent: Record) -> bool:
        """An owner in another namespace counts as absent, as it does in Kubernetes."""
        owner = self._store.by_uid(owner_uid)
        return owner is not None and owner.key[1] in ("", dependent.key[1])


def _marked(record: Record, grace_s: int) -> Object:
    body = record.body()
    metadata = body["metadata"]
    metadata["deletionTimestamp"] = metadata.get("deletionTimestamp") or timestamp(grace_s)
    metadata["deletionGracePeriodSeconds"] = grace_s
    return body
