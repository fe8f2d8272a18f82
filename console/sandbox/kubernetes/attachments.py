"""Which volume is attached to which node: from the start of a pod that has it until its last one is over or gone.

A node that does not answer is not seen to have let go of it: there it stays for six minutes more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.claims import claims_of, handle_of, volume_of
from pgfleet.console.sandbox.kubernetes.store import FINISHED, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfleet.console.sandbox.kubernetes.machines import Machines
    from pgfleet.console.sandbox.kubernetes.store import Change, Record, Store

LONGEST_LOG = 10_000
UNANSWERED_S = 360.0  # then the controller detaches without the node


class Attachments:
    """`on_attach(volume id, node)` and `on_detach(volume id)` pass it on to the simulated AWS."""

    def __init__(self, store: Store, machines: Machines, second_s: float) -> None:
        self._store = store
        self._machines = machines
        self._second_s = second_s
        self._handles: dict[str, list[str]] = {}  # of each pod, by uid
        self._users: dict[str, set[str]] = {}  # uids of pods by handle
        self.nodes: dict[str, str] = {}  # by handle
        self.log: deque[dict[str, str]] = deque(maxlen=LONGEST_LOG)
        self.on_attach: Callable[[str, str], None] = _nothing
        self.on_detach: Callable[[str], None] = _nothing

    def attach(self, pod: Record) -> bool:
        """Attaches all volumes of a pod to its node; False while one of them is attached to another."""
        node, handles = pod.fields["spec.nodeName"], self._handles_of(pod)
        if any(self.nodes.get(handle, node) != node for handle in handles):
            return False
        for handle in handles:
            self._attach(handle, node, pod.uid)
        if handles:
            self._handles[pod.uid] = handles
        return True

    def watch(self, change: Change) -> None:
        record = change.record
        if record.key[0] == "pods" and (change.kind == "DELETED" or record.fields["status.phase"] in FINISHED):
            answers = self._machines.works(record.fields["spec.nodeName"])
            for handle in self._handles.pop(record.uid, ()):
                if answers:
                    self._leave(handle, record.uid)
                else:
                    loop = asyncio.get_running_loop()
                    loop.call_later(UNANSWERED_S * self._second_s, self._leave, handle, record.uid)

    def _handles_of(self, pod: Record) -> list[str]:
        claims = [self._store.get(key) for key in claims_of(pod.body())]
        volumes = [volume_of(self._store, claim) for claim in claims if claim]
        return [handle for volume in volumes if volume and (handle := handle_of(volume))]

    def _attach(self, handle: str, node: str, uid: str) -> None:
        self._users.setdefault(handle, set()).add(uid)
        if handle not in self.nodes:
            self.nodes[handle] = node
            self._note("attach", handle, node)
            self.on_attach(handle, node)

    def _leave(self, handle: str, uid: str) -> None:
        users = self._users[handle]
        users.discard(uid)
        if not users:
            del self._users[handle]
            self._note("detach", handle, self.nodes.pop(handle))
            self.on_detach(handle)

    def _note(self, event: str, handle: str, node: str) -> None:
        self.log.append({"event": event, "volume": handle, "node": node, "at": timestamp()})


def _nothing(*_: str) -> None: ...
