r"""The kubelets of all nodes: each takes pods on that are bound to its node, or rejects them, and plays their scripts.

bound ----> volumes there ----> variables there ----> script ----> ended, or deleted
\
       +------> rejected
"""

from __future__ import annotations

import asyncio
import itertools
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.behaviours import HANG, READY, live, start_of
from pgfleet.console.sandbox.kubernetes.mounts import missing_variable, missing_volume, takes_any
from pgfleet.console.sandbox.kubernetes.recorder import Notice
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError
from pgfleet.console.sandbox.kubernetes.rejections import rejected
from pgfleet.console.sandbox.kubernetes.situations import Situation, Step, nothing, pauses
from pgfleet.console.sandbox.kubernetes.starts import Starts
from pgfleet.console.sandbox.kubernetes.statuses import starting, waiting, with_addresses
from pgfleet.console.sandbox.kubernetes.store import FINISHED, Change, Key, Record, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfleet.console.sandbox.kubernetes.attachments import Attachments
    from pgfleet.console.sandbox.kubernetes.behaviours import Start
    from pgfleet.console.sandbox.kubernetes.machines import Machines
    from pgfleet.console.sandbox.kubernetes.recorder import Recorder
    from pgfleet.console.sandbox.kubernetes.resources import Object

    Rejection = tuple[str, str]  # reason and message

FIRST_POD_IPS = (IPv4Address("10.128.0.2"), IPv6Address("fd00:10:128::2"))
POD_IPS = 2**22
LOOK_AGAIN_S = 0.05
FIRST_MOUNT_PAUSE_S, LONGEST_MOUNT_PAUSE_S = 0.5, 122.0
ATTACHED_ELSEWHERE = Notice(
    "Warning",
    "FailedAttachVolume",
    "Multi-Attach error: a volume is already exclusively attached to one node and can't be attached to another",
    "attachdetach-controller",
)


class Kubelet:
    """`ready_delay_s` is how long a pod takes, `second_s` how long a second of what kubelets wait for."""

    def __init__(  # noqa: PLR0913  # the parts of the cluster that it moves, and two paces
        self,
        store: Store,
        recorder: Recorder,
        attachments: Attachments,
        machines: Machines,
        *,
        ready_delay_s: float,
        second_s: float,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._attachments = attachments
        self._machines = machines
        self._ready_delay_s = ready_delay_s
        self._second_s = second_s
        self._seen: set[str] = set()
        self._next_steps: dict[str, asyncio.TimerHandle] = {}
        self._held: dict[str, dict[str, Callable[[], None]]] = {}  # what a silent node would do, by pod
        self._pod_numbers = (count % POD_IPS for count in itertools.count())
        self.starts = Starts()
        self.admits: Callable[[str], Rejection | None] = _everything  # by uid

    def watch(self, change: Change) -> None:
        record = change.record
        if record.key[0] != "pods":
            return
        if change.kind == "DELETED":
            self._seen.discard(record.uid)
            self._machines.stuck.discard(record.uid)
            self._cancel(record.uid)
        elif record.fields["spec.nodeName"] and record.uid not in self._seen:
            self._seen.add(record.uid)
            asyncio.get_running_loop().call_soon(self._start, record.key, record.uid)

    def act(self, key: Key, behaviour: str, trouble_s: float | None = None) -> None:
        """Makes a live pod behave so. Raises `RefusedError` for a pod on no node and for an unknown behaviour."""
        script = live(behaviour)
        record = self._store.get(key)
        if record is None or record.uid not in self._seen:
            raise RefusedError(404, f'pods "{key[2]}" is not on any node')
        if behaviour == HANG:
            self._machines.stuck.add(record.uid)
            return
        if behaviour == READY:
            self._machines.stuck.discard(record.uid)
        self._cancel(record.uid)
        self._play(key, record.uid, script(self._situation(record.body(), trouble_s)))

    def resume(self, node: str) -> None:
        """A kubelet that was silent goes on."""
        for go_on in self._held.pop(node, {}).values():
            go_on()

    def _start(self, key: Key, uid: str) -> None:
        record = self._working(key, uid, lambda: self._start(key, uid))
        if record is None:
            return
        body, node = record.body(), record.fields["spec.nodeName"]
        now = self._machines.now(node)
        start, rejection = self.starts.take(record, start_of(body))
        rejection = rejection or self.admits(uid)
        if rejection:
            reason, message = rejection
            rejected(body, now, reason=reason, message=message)
            self._recorder.record(self._store.put(record, body), Notice("Warning", reason, message))
            return
        starting(body, now, self._machines.addresses(node))
        self._store.put(record, body)
        self._prepare(key, uid, start, pauses(FIRST_MOUNT_PAUSE_S, LONGEST_MOUNT_PAUSE_S))

    def _prepare(self, key: Key, uid: str, start: Start, told: Iterator[float], quiet_s: float = 0.0) -> None:
        """The script begins when all that the containers are made of is there; `quiet_s` is until it is told again."""
        self._next_steps.pop(uid, None)
        record = self._working(key, uid, lambda: self._prepare(key, uid, start, told, quiet_s))
        if record is None:
            return
        lack = self._lack(record)
        if lack is None:
            self._play(key, uid, start.script(self._situation(record.body(), start.trouble_s)))
            return
        if quiet_s <= 0:
            quiet_s = next(told) * self._second_s
            self._recorder.record(record, lack)
        later = self._later(LOOK_AGAIN_S, self._prepare, key, uid, start, told, quiet_s - LOOK_AGAIN_S)
        self._next_steps[uid] = later

    def _lack(self, record: Record) -> Notice | None:
        """What keeps the containers from being created. A variable that can't be made is in their status, too."""
        if not self._attachments.attach(record):
            return ATTACHED_ELSEWHERE
        if not takes_any(record.raw):
            return None
        body = record.body()
        lack = missing_volume(self._store, body)
        if lack:
            return Notice("Warning", "FailedMount", lack)
        lack = missing_variable(self._store, body)
        if not lack:
            return None
        now = self._machines.now(record.fields["spec.nodeName"])
        self._with_addresses(body)
        waiting(body, now, reason="CreateContainerConfigError", message=lack)
        self._store.put(record, body)
        return Notice("Warning", "Failed", f"Error: {lack}")

    def _play(self, key: Key, uid: str, script: Iterator[Step]) -> None:
        step = next(script, None)
        if step:
            self._next_steps[uid] = self._later(step.delay_s, self._take, key, uid, step, script)

    def _take(self, key: Key, uid: str, step: Step, script: Iterator[Step]) -> None:
        self._next_steps.pop(uid, None)
        record = self._working(key, uid, lambda: self._take(key, uid, step, script))
        if record is None:
            return
        if step.apply is None:
            self._store.remove(record)
            return
        if step.apply is not nothing:
            body = record.body()
            self._with_addresses(body)
            step.apply(body, self._machines.now(record.fields["spec.nodeName"]))
            record = self._store.put(record, body)
        for notice in step.notices:
            self._recorder.record(record, notice)
        self._play(key, uid, script)

    def _working(self, key: Key, uid: str, later: Callable[[], None]) -> Record | None:
        """The pod, unless it was replaced, has ended or is being deleted; `later` is done when its node works again."""
        record = self._store.get(key)
        if record is None or record.uid != uid or record.deleting:
            return None
        if record.fields["status.phase"] in FINISHED:
            return None
        node = record.fields["spec.nodeName"]
        if self._machines.works(node):
            return record
        self._held.setdefault(node, {})[uid] = later
        return None

    def _situation(self, pod: Object, trouble_s: float | None) -> Situation:
        return Situation(pod, self._ready_delay_s, trouble_s, self._second_s)

    def _with_addresses(self, body: Object) -> None:
        """One of each family that the node has."""
        if "podIP" not in body["status"]:
            number = next(self._pod_numbers)
            families = [":" in each["ip"] for each in body["status"].get("hostIPs") or ()] or [False]
            with_addresses(body, [str(FIRST_POD_IPS[family] + number) for family in families])

    def _later(self, delay_s: float, do: Callable[..., None], *what: object) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_s, do, *what)

    def _cancel(self, uid: str) -> None:
        handle = self._next_steps.pop(uid, None)
        if handle:
            handle.cancel()
        for held in self._held.values():
            held.pop(uid, None)


def _everything(_: str) -> None:
    return None
