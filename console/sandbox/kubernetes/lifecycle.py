"""The controllers of nodes: what becomes of a node that is silent, tainted, cordoned or gone, and of its pods.

    silent ----> 50 s: Ready=Unknown, tainted, pods not ready ----> 300 s: pods deleted; they stay until it is back
    gone   ----> 40 s: pods failed and removed

What was deleted on a silent node that somebody taints as out of service is removed, too.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from pgfleet.console.sandbox.kubernetes.recorder import Notice
from pgfleet.console.sandbox.kubernetes.refusals import RefusedError, not_found
from pgfleet.console.sandbox.kubernetes.reports import OWN_TAINTS, PRESSURES, reported, taints_for, unheard
from pgfleet.console.sandbox.kubernetes.resources import RESOURCES
from pgfleet.console.sandbox.kubernetes.selectors import parse_selector
from pgfleet.console.sandbox.kubernetes.statuses import disrupted
from pgfleet.console.sandbox.kubernetes.store import FINISHED, Change, Key, Record, Store, timestamp
from pgfleet.console.sandbox.kubernetes.taints import stay_s, taints_of, tolerations_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfleet.console.sandbox.kubernetes.deletions import Deletions
    from pgfleet.console.sandbox.kubernetes.kubelet import Kubelet
    from pgfleet.console.sandbox.kubernetes.machines import Machines
    from pgfleet.console.sandbox.kubernetes.recorder import Recorder
    from pgfleet.console.sandbox.kubernetes.resources import Object

SILENCE_S, ORPHANED_S = 50.0, 40.0  # as the controllers wait by default
CONTROLLER, EVICTOR = "node-controller", "taint-eviction-controller"
BY_TAINT = ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
BY_DRAIN = ("EvictionByEvictionAPI", "Eviction API: evicting")
BY_COLLECTOR = ("DeletionByPodGC", "PodGC: node no longer exists")
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
DRAIN = "drain"
WORDS = {"silent": bool, "ready": bool, "pressure": str, "clock_s": float}


class Lifecycle:
    """`second_s` is how long a second takes of all that is waited for here."""

    def __init__(  # noqa: PLR0913  # the parts of the cluster that it moves
        self,
        store: Store,
        recorder: Recorder,
        machines: Machines,
        deletions: Deletions,
        kubelet: Kubelet,
        second_s: float,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._machines = machines
        self._deletions = deletions
        self._kubelet = kubelet
        self._second_s = second_s
        self._silences: dict[str, asyncio.TimerHandle] = {}  # by node, until they are noticed
        self._stays: dict[str, asyncio.TimerHandle] = {}  # by uid of a pod

    def order(self, name: str, wanted: dict[str, Any]) -> None:
        """Raises `RefusedError` for a node that there is not, or for what can't be asked of it."""
        node = self._store.get(("nodes", "", name))
        if node is None:
            raise not_found("nodes", name)
        unknown = set(wanted) - set(WORDS)
        pressures = tuple(each for each in str(wanted.get("pressure", "")).split(",") if each)
        if unknown or not set(pressures) <= set(PRESSURES):
            raise RefusedError(400, f"a node can be told {', '.join(WORDS)}; pressure is of {', '.join(PRESSURES)}")
        if "clock_s" in wanted:
            self._machines.clocks_s[name] = float(wanted["clock_s"])
        if wanted.get("silent"):
            self._fall_silent(name)
        elif wanted.keys() & {"silent", "ready", "pressure"}:
            self._report(node, ready=bool(wanted.get("ready", True)), pressures=pressures)

    def drain(self, key: Key) -> None:
        """As `kubectl drain` asks for it. Raises `RefusedError` (404)."""
        pod = self._store.get(key)
        if pod is None:
            raise not_found("pods", key[2])
        self._disrupt(pod, BY_DRAIN)

    def watch(self, change: Change) -> None:
        record, loop = change.record, asyncio.get_running_loop()
        match record.key[0], change.kind:
            case "nodes", "DELETED":
                self._cancel(self._silences, record.key[2])
                loop.call_later(ORPHANED_S * self._second_s, self._collect, record.key[2])
            case "nodes", "ADDED":
                loop.call_soon(self._wake, record.key[2])
            case "nodes", _:
                loop.call_soon(self._see_node, record.key[2])
            case "pods", "DELETED":
                self._cancel(self._stays, record.uid)
            case "pods", _ if record.fields["spec.nodeName"] and not (change.before and _has_node(change.before)):
                loop.call_soon(self._see_pod, record.key)

    def _fall_silent(self, node: str) -> None:
        self._machines.silent.add(node)
        if node not in self._silences:
            later = asyncio.get_running_loop().call_later(SILENCE_S * self._second_s, self._notice, node)
            self._silences[node] = later

    def _notice(self, name: str) -> None:
        """The node has been silent for too long: it is unknown, and so are its pods not ready."""
        self._silences.pop(name, None)
        node = self._store.get(("nodes", "", name))
        if node is None:
            return
        self._tell(node, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        self._change(node, lambda body: unheard(body, timestamp()))
        self._set_pods_unready(name)

    def _report(self, node: Record, *, ready: bool, pressures: tuple[str, ...]) -> None:
        """Its kubelet is there, and posts this."""
        name = node.key[2]
        self._machines.silent.discard(name)
        self._cancel(self._silences, name)
        now = self._machines.now(name)
        self._change(node, lambda body: reported(body, now, ready=ready, pressures=pressures))
        self._wake(name)
        if ready:
            self._set_pods_ready(name)
        else:
            self._set_pods_unready(name)

    def _wake(self, node: str) -> None:
        if self._machines.works(node):
            self._deletions.resume(node)
            self._kubelet.resume(node)

    def _change(self, node: Record, change: Callable[[Object], None]) -> None:
        body = node.body()
        change(body)
        _set_taints(body)
        self._store.put(node, body)

    def _see_node(self, name: str) -> None:
        """Cordoned or not, tainted or not: by whomever."""
        node = self._store.get(("nodes", "", name))
        if node is None:
            return
        self._change(node, lambda _: None)
        is_over = OUT_OF_SERVICE in {taint[0] for taint in taints_of(node.body())} and not self._machines.works(name)
        for pod in self._pods_of(name):
            if is_over and pod.deleting:
                self._deletions.delete(pod, 0)
            else:
                self._see_pod(pod.key)

    def _see_pod(self, key: Key) -> None:
        """Gives the pod the time that it may stay on its node; taking it back where nothing drives it away."""
        pod = self._store.get(key)
        node = self._store.get(("nodes", "", pod.fields["spec.nodeName"])) if pod else None
        if pod is None or node is None or pod.deleting:
            return
        taints = taints_of(node.body())
        stay = stay_s(taints, tolerations_of(pod.body())) if taints else math.inf
        if math.isinf(stay):
            self._cancel(self._stays, pod.uid)
        elif pod.uid not in self._stays:
            later = asyncio.get_running_loop().call_later(stay * self._second_s, self._evict, key, pod.uid)
            self._stays[pod.uid] = later

    def _evict(self, key: Key, uid: str) -> None:
        self._stays.pop(uid, None)
        pod = self._store.get(key)
        if pod is None or pod.uid != uid or pod.deleting:
            return
        words = f"Marking for deletion Pod {key[1]}/{key[2]}"
        self._recorder.record(pod, Notice("Normal", "TaintManagerEviction", words, EVICTOR))
        self._disrupt(pod, BY_TAINT)

    def _disrupt(self, pod: Record, why: tuple[str, str]) -> None:
        body = pod.body()
        disrupted(body, timestamp(), *why)
        self._deletions.delete(self._store.put(pod, body))

    def _collect(self, node: str) -> None:
        """The pods of a node that is gone fail, and are removed without grace."""
        if self._store.get(("nodes", "", node)):
            return
        for pod in self._pods_of(node):
            body = pod.body()
            if pod.fields["status.phase"] not in FINISHED:
                body["status"]["phase"] = "Failed"
                disrupted(body, timestamp(), *BY_COLLECTOR)
            self._deletions.delete(self._store.put(pod, body), 0)

    def _set_pods_unready(self, node: str) -> None:
        """Reason and message of the condition stay empty, and the containers stay ready."""
        for pod in self._pods_of(node):
            if self._set_readiness(pod, was="True", now="False"):
                self._recorder.record(pod, Notice("Warning", "NodeNotReady", "Node is not ready", CONTROLLER))

    def _set_pods_ready(self, node: str) -> None:
        """The kubelet writes what it sees: the containers are ready, and so are their pods."""
        for pod in self._pods_of(node):
            self._set_readiness(pod, was="False", now="True")

    def _set_readiness(self, pod: Record, *, was: str, now: str) -> bool:
        """Whether there was something to change: only pods whose containers are all ready are touched."""
        body = pod.body()
        conditions = {each["type"]: each for each in body["status"].get("conditions") or ()}
        ready, containers = conditions.get("Ready"), conditions.get("ContainersReady")
        if not ready or not containers or containers["status"] != "True" or ready["status"] != was:
            return False
        ready |= {"status": now, "lastTransitionTime": timestamp()}
        self._store.put(pod, body)
        return True

    def _pods_of(self, node: str) -> list[Record]:
        selector = parse_selector("", f"spec.nodeName={node}", RESOURCES["pods"])
        return self._store.select("pods", "", selector)

    def _tell(self, node: Record, reason: str, message: str) -> None:
        self._recorder.record(node, Notice("Normal", reason, message, CONTROLLER))

    def _cancel(self, timers: dict[str, asyncio.TimerHandle], name: str) -> None:
        timer = timers.pop(name, None)
        if timer:
            timer.cancel()


def _has_node(record: Record) -> bool:
    return bool(record.fields["spec.nodeName"])


def _set_taints(node: Object) -> None:
    """Those that go with conditions and cordoning; what others have put there is left alone."""
    node.setdefault("spec", {})
    node.setdefault("status", {})
    before = node["spec"].get("taints") or []
    known = {(each["key"], each["effect"]): each for each in before}
    wanted = [known.get((each["key"], each["effect"]), each | _since(each)) for each in taints_for(node)]
    taints = [each for each in before if each["key"] not in OWN_TAINTS] + wanted
    if taints:
        node["spec"]["taints"] = taints
    else:
        node["spec"].pop("taints", None)


def _since(taint: Object) -> Object:
    return {"timeAdded": timestamp()} if taint["effect"] == "NoExecute" else {}
