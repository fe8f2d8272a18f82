"""The scheduler: binds waiting pods to nodes, oldest first, and says why when there is no place.

    pod created ----> waiting ----> bound (spec.nodeName)
                       |    ^
                       v    |  every `retry_s`: PodScheduled=False, FailedScheduling counted up
                     told why

Pods of one demand wait in one line: where the first doesn't fit, none of them does. A pass is made only when
something could fit that did not before: a pod came, a volume or its claim changed, or a node came, changed or got
something back.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter, defaultdict, deque
from dataclasses import dataclass

from pgfleet.console.sandbox.kubernetes.claims import ANYWHERE, Reach, reach_of
from pgfleet.console.sandbox.kubernetes.conditions import set_condition
from pgfleet.console.sandbox.kubernetes.demands import GPU, Demand, Node, demand_of, node_of, why_nowhere
from pgfleet.console.sandbox.kubernetes.recorder import Notice, Recorder
from pgfleet.console.sandbox.kubernetes.store import Change, Key, Record, Store, timestamp

FINISHED = ("Succeeded", "Failed")
BINDINGS_PER_PASS = 200  # then other requests get their turn


@dataclass(slots=True)
class Waiting:
    key: Key
    uid: str
    demand: Demand
    arrival: int
    told: str = ""  # the message of the PodScheduled condition


@dataclass(frozen=True, slots=True)
class Placement:
    node: str
    demand: Demand


class Scheduler:
    def __init__(self, store: Store, recorder: Recorder, retry_s: float) -> None:
        self._store = store
        self._recorder = recorder
        self._retry_s = retry_s
        self._nodes: dict[str, Node] = {}
        self._used: dict[str, Counter[str]] = defaultdict(Counter)
        self._placed: dict[str, Placement] = {}  # by uid
        self._waiting: dict[str, Waiting] = {}  # by uid
        self._lines: dict[Demand, dict[str, Waiting]] = {}  # the waiting by demand, then uid
        self._candidates: dict[tuple[tuple[str, str], ...], list[Node]] = {}  # by selector
        self._without_place: set[Demand] = set()  # since something was given back last
        self._reasons: dict[Demand, str] = {}
        self._arrivals = itertools.count()
        self._untold: deque[str] = deque()
        self._retries: deque[tuple[float, str]] = deque()
        self._pass_is_planned = False

    def watch(self, change: Change) -> None:
        if change.record.key[0] == "nodes":
            self._see_node(change)
        elif change.record.key[0] == "pods":
            self._see_pod(change)
        elif change.record.key[0] in ("persistentvolumes", "persistentvolumeclaims"):
            self._see_room()

    def capacity(self, label: str, resource_name: str = GPU) -> dict[str, dict[str, int]]:
        """Total and requested amounts by the value of a node label."""
        sums: dict[str, dict[str, int]] = {}
        for node in self._nodes.values():
            entry = sums.setdefault(node.labels.get(label, ""), {"total": 0, "requested": 0})
            entry["total"] += node.allocatable.get(resource_name, 0)
            entry["requested"] += self._used[node.name][resource_name]
        return sums

    def _see_node(self, change: Change) -> None:
        name = change.record.key[2]
        self._candidates.clear()
        self._reasons.clear()
        if change.kind == "DELETED":
            self._nodes.pop(name, None)
            return
        self._nodes[name] = node_of(change.record.body())
        self._see_room()

    def _see_pod(self, change: Change) -> None:
        record = change.record
        node = record.fields["spec.nodeName"]
        if change.kind == "DELETED" or record.fields["status.phase"] in FINISHED:
            self._stop_waiting(record.uid)
            self._give_back(record.uid)
        elif node and record.uid not in self._placed:
            self._hold(record, node)
        elif not node and record.deleting:
            self._stop_waiting(record.uid)
        elif not node and record.uid not in self._waiting:
            self._start_waiting(record)

    def _start_waiting(self, record: Record) -> None:
        waiting = Waiting(record.key, record.uid, demand_of(record.body()), next(self._arrivals))
        self._waiting[record.uid] = waiting
        self._lines.setdefault(waiting.demand, {})[record.uid] = waiting
        self._untold.append(record.uid)
        self._plan_pass()

    def _stop_waiting(self, uid: str) -> None:
        waiting = self._waiting.pop(uid, None)
        if waiting is None:
            return
        line = self._lines[waiting.demand]
        del line[uid]
        if not line:
            del self._lines[waiting.demand]

    def _hold(self, record: Record, node: str) -> None:
        waiting = self._waiting.get(record.uid)
        demand = waiting.demand if waiting else demand_of(record.body())
        self._stop_waiting(record.uid)
        self._placed[record.uid] = Placement(node, demand)
        self._used[node].update(dict(demand.amounts))
        self._reasons.clear()

    def _give_back(self, uid: str) -> None:
        placement = self._placed.pop(uid, None)
        if placement is None:
            return
        self._used[placement.node].subtract(dict(placement.demand.amounts))
        self._see_room()

    def _see_room(self) -> None:
        self._without_place.clear()
        self._reasons.clear()
        self._plan_pass()

    def _plan_pass(self) -> None:
        if not self._pass_is_planned:
            self._pass_is_planned = True
            asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        self._pass_is_planned = False
        hopeful = [demand for demand in self._lines if demand not in self._without_place]
        heads = [(_head(self._lines[demand]).arrival, demand) for demand in hopeful]
        heapq.heapify(heads)
        bindings_left = BINDINGS_PER_PASS
        while heads and bindings_left:
            _, demand = heapq.heappop(heads)
            if not self._place(_head(self._lines[demand])):
                self._without_place.add(demand)
                continue
            bindings_left -= 1
            if demand in self._lines:
                heapq.heappush(heads, (_head(self._lines[demand]).arrival, demand))
        if bindings_left:
            self._tell_the_new()
        else:
            self._plan_pass()

    def _place(self, waiting: Waiting) -> bool:
        node = self._best_node(waiting.demand)
        record = self._store.get(waiting.key)
        if node is None or record is None:
            return False
        body = record.body()
        body["spec"]["nodeName"] = node.name
        set_condition(body, "PodScheduled", holds=True, now=timestamp())
        bound = self._store.put(record, body)
        message = f"Successfully assigned {record.key[1]}/{record.key[2]} to {node.name}"
        self._recorder.record(bound, Notice("Normal", "Scheduled", message, "default-scheduler"))
        return True

    def _best_node(self, demand: Demand) -> Node | None:
        """The one with the most GPUs left, as kube-scheduler spreads by default."""
        best, best_room = None, -1
        for node in self._selected(demand):
            used = self._used[node.name]
            room = node.gpus - used[GPU]
            if room > best_room and not node.lacks(demand, used):
                best, best_room = node, room
        return best

    def _selected(self, demand: Demand) -> list[Node]:
        nodes = self._candidates.get(demand.selector)
        if nodes is None:
            usable = [node for node in self._nodes.values() if not node.unschedulable]
            nodes = [node for node in usable if node.selected_by(demand)]
            self._candidates[demand.selector] = nodes
        if not demand.claims:
            return nodes
        reach = self._reach(demand)
        return [] if reach.missing else [node for node in nodes if reach.includes(node.labels)]

    def _reach(self, demand: Demand) -> Reach:
        return reach_of(self._store, demand.claims) if demand.claims else ANYWHERE

    def _tell_the_new(self) -> None:
        self._tell(self._untold)
        self._untold = deque()

    def _tell(self, uids: deque[str]) -> None:
        """Says to each that still waits why it does, and again after `retry_s`."""
        loop = asyncio.get_running_loop()
        for uid in uids:
            waiting = self._waiting.get(uid)
            if waiting is None:
                continue
            self._say(waiting, self._reason(waiting.demand))
            self._retries.append((loop.time() + self._retry_s, uid))
            if len(self._retries) == 1:
                loop.call_at(self._retries[0][0], self._retry)

    def _retry(self) -> None:
        now = asyncio.get_running_loop().time()
        due: deque[str] = deque()
        while self._retries and self._retries[0][0] <= now:
            due.append(self._retries.popleft()[1])
        if self._retries:
            asyncio.get_running_loop().call_at(self._retries[0][0], self._retry)
        self._tell(due)

    def _reason(self, demand: Demand) -> str:
        if demand not in self._reasons:
            nodes = list(self._nodes.values())
            self._reasons[demand] = why_nowhere(demand, nodes, self._used, self._reach(demand))
        return self._reasons[demand]

    def _say(self, waiting: Waiting, why: str) -> None:
        record = self._store.get(waiting.key)
        if record is None:
            return
        self._recorder.record(record, Notice("Warning", "FailedScheduling", why, "default-scheduler"))
        if waiting.told == why:
            return
        waiting.told = why
        body = record.body()
        set_condition(body, "PodScheduled", holds=False, now=timestamp(), why=("Unschedulable", why))
        self._store.put(record, body)


def _head(line: dict[str, Waiting]) -> Waiting:
    return next(iter(line.values()))
