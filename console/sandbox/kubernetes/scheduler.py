"""The scheduler: binds waiting pods to nodes, oldest first, and says why when there is no place.

    pod created ----> waiting ----> bound (spec.nodeName)
                       |    ^
                       v    |  every `retry_s`: FailedScheduling counted up
                 PodScheduled=False

A pass is made when something could fit that did not before: a pod came, a volume or its claim changed, or a node came,
changed or got something back.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.claims import ANYWHERE, Reach, reach_of
from pgfleet.console.sandbox.kubernetes.conditions import set_condition
from pgfleet.console.sandbox.kubernetes.demands import GPU, Demand, Node, demand_of, node_of, why_nowhere
from pgfleet.console.sandbox.kubernetes.recorder import Notice, Recorder
from pgfleet.console.sandbox.kubernetes.store import FINISHED, Change, Key, Record, Store, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

BINDINGS_PER_PASS = 200  # then other requests are answered


@dataclass(slots=True)
class Waiting:
    key: Key
    demand: Demand
    reason: str = ""  # the message of the PodScheduled condition


class Scheduler:
    def __init__(self, store: Store, recorder: Recorder, retry_s: float) -> None:
        self._store = store
        self._recorder = recorder
        self._retry_s = retry_s
        self._nodes: dict[str, Node] = {}
        self._used: dict[str, Counter[str]] = defaultdict(Counter)
        self._placed: dict[str, tuple[str, Demand]] = {}  # by uid, with the node's name
        self._waiting: dict[str, Waiting] = {}  # by uid, the oldest first
        self._pass_is_planned = False

    def watch(self, change: Change) -> None:
        match change.record.key[0]:
            case "nodes":
                self._see_node(change)
            case "pods":
                self._see_pod(change)
            case "persistentvolumes" | "persistentvolumeclaims":
                self._plan_pass()

    def capacity(self, label: str) -> dict[str, dict[str, int]]:
        """Total and requested GPUs by the value of a node label."""
        sums: dict[str, dict[str, int]] = {}
        for node in self._nodes.values():
            entry = sums.setdefault(node.labels.get(label, ""), {"total": 0, "requested": 0})
            entry["total"] += node.gpus
            entry["requested"] += self._used[node.name][GPU]
        return sums

    def _see_node(self, change: Change) -> None:
        name = change.record.key[2]
        if change.kind == "DELETED":
            self._nodes.pop(name, None)
            return
        self._nodes[name] = node_of(change.record.body())
        self._plan_pass()

    def _see_pod(self, change: Change) -> None:
        record = change.record
        node = record.fields["spec.nodeName"]
        if change.kind == "DELETED" or record.fields["status.phase"] in FINISHED:
            self._waiting.pop(record.uid, None)
            self._give_back(record.uid)
        elif node and record.uid not in self._placed:
            self._hold(record, node)
        elif not node and record.deleting:
            self._waiting.pop(record.uid, None)
        elif not node and record.uid not in self._waiting:
            self._waiting[record.uid] = Waiting(record.key, demand_of(record.body()))
            self._plan_pass()

    def _hold(self, record: Record, node: str) -> None:
        waiting = self._waiting.pop(record.uid, None)
        demand = waiting.demand if waiting else demand_of(record.body())
        self._placed[record.uid] = node, demand
        self._used[node].update(dict(demand.amounts))

    def _give_back(self, uid: str) -> None:
        if uid in self._placed:
            node, demand = self._placed.pop(uid)
            self._used[node].subtract(dict(demand.amounts))
            self._plan_pass()

    def _plan_pass(self) -> None:
        if not self._pass_is_planned:
            self._pass_is_planned = True
            asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        self._pass_is_planned = False
        for bindings, (record, node) in enumerate(self._hopeful()):
            if bindings == BINDINGS_PER_PASS:
                self._plan_pass()
                return
            self._bind(record, node)
        for uid in [uid for uid, waiting in self._waiting.items() if not waiting.reason]:
            self._write_why(uid)

    def _hopeful(self) -> Iterator[tuple[Record, Node]]:
        """Each waiting pod that fits on a node, with that node; the caller binds it before the next is looked for.

        Where the first pod of a demand does not fit, no later one does.
        """
        nowhere: set[Demand] = set()
        for waiting in list(self._waiting.values()):
            node = None if waiting.demand in nowhere else self._best_node(waiting.demand)
            record = self._store.get(waiting.key)
            if node and record:
                yield record, node
            else:
                nowhere.add(waiting.demand)

    def _bind(self, record: Record, node: Node) -> None:
        body = record.body()
        body["spec"]["nodeName"] = node.name
        set_condition(body, "PodScheduled", holds=True, now=timestamp())
        bound = self._store.put(record, body)
        message = f"Successfully assigned {record.key[1]}/{record.key[2]} to {node.name}"
        self._recorder.record(bound, Notice("Normal", "Scheduled", message, "default-scheduler"))

    def _best_node(self, demand: Demand) -> Node | None:
        """The one with the most GPUs left, as kube-scheduler spreads by default."""
        reach = self._reach(demand)
        if reach.missing:
            return None
        fitting = [node for node in self._nodes.values() if self._fits(node, demand, reach)]
        return max(fitting, key=lambda node: node.gpus - self._used[node.name][GPU], default=None)

    def _fits(self, node: Node, demand: Demand, reach: Reach) -> bool:
        if node.unschedulable or not node.selected_by(demand) or not reach.includes(node.labels):
            return False
        return not node.lacks(demand, self._used[node.name])

    def _reach(self, demand: Demand) -> Reach:
        return reach_of(self._store, demand.claims) if demand.claims else ANYWHERE

    def _write_why(self, uid: str) -> None:
        """Write why a pod still waits into its status and an event, and again after `retry_s`."""
        waiting = self._waiting.get(uid)
        record = self._store.get(waiting.key) if waiting else None
        if waiting is None or record is None:
            return
        why = why_nowhere(waiting.demand, list(self._nodes.values()), self._used, self._reach(waiting.demand))
        self._recorder.record(record, Notice("Warning", "FailedScheduling", why, "default-scheduler"))
        asyncio.get_running_loop().call_later(self._retry_s, self._write_why, uid)
        if waiting.reason != why:
            waiting.reason = why
            body = record.body()
            set_condition(body, "PodScheduled", holds=False, now=timestamp(), why=("Unschedulable", why))
            self._store.put(record, body)
