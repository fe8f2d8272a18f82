"""The kubelet of all nodes: plays the script of every pod that is bound, until the pod ends or is deleted."""

from __future__ import annotations

import asyncio
import itertools
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.behaviours import Step, first_script, live_step, starting
from pgfleet.console.sandbox.kubernetes.recorder import Notice
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
from pgfleet.console.sandbox.kubernetes.store import FINISHED, Change, Key, Record, Store, timestamp

if TYPE_CHECKING:
    from pgfleet.console.sandbox.kubernetes.attachments import Attachments
    from pgfleet.console.sandbox.kubernetes.recorder import Recorder

FIRST_POD_IP = IPv4Address("10.128.0.2")
POD_IPS = 2**22
ATTACH_RETRY_S = 0.05
ATTACHED_ELSEWHERE = Notice(
    "Warning",
    "FailedAttachVolume",
    "Multi-Attach error: a volume is already exclusively attached to one node and can't be attached to another",
    "attachdetach-controller",
)


class Kubelet:
    def __init__(self, store: Store, recorder: Recorder, attachments: Attachments, ready_delay_s: float) -> None:
        self._store = store
        self._recorder = recorder
        self._attachments = attachments
        self._ready_delay_s = ready_delay_s
        self._seen: set[str] = set()
        self._next_steps: dict[str, asyncio.TimerHandle] = {}
        self._pod_ips = (FIRST_POD_IP + count % POD_IPS for count in itertools.count())

    def watch(self, change: Change) -> None:
        record = change.record
        if record.key[0] != "pods":
            return
        if change.kind == "DELETED":
            self._seen.discard(record.uid)
            self._cancel(record.uid)
        elif record.fields["spec.nodeName"] and record.uid not in self._seen:
            self._seen.add(record.uid)
            asyncio.get_running_loop().call_soon(self._start, record.key, record.uid)

    def act(self, key: Key, behaviour: str) -> None:
        """Makes a live pod behave so. Raises `RefusedError` for a pod on no node and for an unknown behaviour."""
        step = live_step(behaviour)
        record = self._store.get(key)
        if record is None or record.uid not in self._seen:
            raise RefusedError(404, f'pods "{key[2]}" is not on any node')
        self._cancel(record.uid)
        self._play(key, record.uid, [step])

    def _start(self, key: Key, uid: str) -> None:
        record = self._live(key, uid)
        if record is None:
            return
        body = record.body()
        starting(body, timestamp(), host_ip=self._host_ip(body), pod_ip=str(next(self._pod_ips)))
        self._store.put(record, body)
        self._mount(key, uid)

    def _mount(self, key: Key, uid: str) -> None:
        """The script begins when all volumes are attached: until then the containers are being created."""
        self._next_steps.pop(uid, None)
        record = self._live(key, uid)
        if record is None:
            return
        if self._attachments.attach(record):
            self._play(key, uid, first_script(record.body(), self._ready_delay_s))
            return
        self._recorder.record(record, ATTACHED_ELSEWHERE)
        loop = asyncio.get_running_loop()
        self._next_steps[uid] = loop.call_later(ATTACH_RETRY_S, self._mount, key, uid)

    def _play(self, key: Key, uid: str, steps: list[Step]) -> None:
        if steps:
            loop = asyncio.get_running_loop()
            self._next_steps[uid] = loop.call_later(steps[0].delay_s, self._take, key, uid, steps)

    def _take(self, key: Key, uid: str, steps: list[Step]) -> None:
        self._next_steps.pop(uid, None)
        record = self._live(key, uid)
        if record is None:
            return
        step = steps[0]
        if step.apply is None:
            self._store.remove(record)
            return
        body = record.body()
        step.apply(body, timestamp())
        changed = self._store.put(record, body)
        if step.notice:
            self._recorder.record(changed, step.notice)
        self._play(key, uid, steps[1:])

    def _live(self, key: Key, uid: str) -> Record | None:
        """The pod, unless it has been replaced, has ended, or is being deleted."""
        record = self._store.get(key)
        if record is None or record.uid != uid or record.deleting:
            return None
        return None if record.fields["status.phase"] in FINISHED else record

    def _host_ip(self, body: dict[str, dict[str, str]]) -> str:
        node = self._store.get(("nodes", "", body["spec"]["nodeName"]))
        addresses = node.body().get("status", {}).get("addresses", []) if node else []
        found = [each["address"] for each in addresses if each["type"] == "InternalIP"]
        return found[0] if found else "127.0.0.1"

    def _cancel(self, uid: str) -> None:
        handle = self._next_steps.pop(uid, None)
        if handle:
            handle.cancel()
