"""The scheduler: binds waiting pods to nodes, by priority and age, and says why when there is no place.

    pod created ----> waiting ----> bound (spec.nodeName)
        |              |    ^  \
        v              v    |   +----> others are preempted, if they are of lower priority
      gated      PodScheduled=False

A pass is made when something could fit that did not before: a pod came, a volume or its claim changed, or a node came,
changed or got something back; and every `retry_s`, whatever happened.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfleet.console.sandbox.kubernetes.claims import ANYWHERE, Reach, reach_of
from pgfleet.console.sandbox.kubernetes.conditions import set_condition
from pgfleet.console.sandbox.kubernetes.demands import Demand, Node, Seen, demand_of, why_nowhere
from pgfleet.console.sandbox.kubernetes.placements import Placements
from pgfleet.console.sandbox.kubernetes.preemption import MESSAGE, Victims, cheapest_victims
from pgfleet.console.sandbox.kubernetes.recorder import Notice, Recorder
from pgfleet.console.sandbox.kubernetes.statuses import disrupted
from pgfleet.console.sandbox.kubernetes.store import FINISHED, Change, Key, Record, Store, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgfleet.console.sandbox.kubernetes.company import Placed
    from pgfleet.console.sandbox.kubernetes.deletions import Deletions

BINDINGS_PER_PASS = 200  # then other requests are answered
TIMES_TOLD = 2  # then its events are only counted, for half an hour
NAME = "default-scheduler"
GATED = ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")


@dataclass(slots=True)
class Waiting:
    key: Key
    demand: Demand
    reason: str = ""  # the message of the PodScheduled condition
    told: int = 0  # how often an event has said so
    nominated: str = ""  # the node from which others have to go for it


class Scheduler:
    def __init__(self, store: Store, recorder: Recorder, deletions: Deletions, retry_s: float) -> None:
        self._store = store
        self._recorder = recorder
        self._deletions = deletions
        self._retry_s = retry_s
        self.placements = Placements()
        self._waiting: dict[str, Waiting] = {}  # by uid, the oldest first
        self._pass_is_planned = False
        self._all_may_hope = False  # what is new may help pods that were tried before
        self._is_down = False

    def watch(self, change: Change) -> None:
        match change.record.key[0]:
            case "nodes":
                self.placements.see(change.record.key[2], None if change.kind == "DELETED" else change.record.body())
                self._plan_pass(for_all=True)
            case "pods":
                self._see_pod(change)
            case "persistentvolumes" | "persistentvolumeclaims":
                self._plan_pass(for_all=True)

    def stop(self) -> None:
        """From here on nothing is said of a new pod, until `go_on`."""
        self._is_down = True

    def go_on(self) -> None:
        self._is_down = False
        for uid, waiting in list(self._waiting.items()):
            self._say_gated(waiting.key, uid)
        self._plan_pass()

    def _see_pod(self, change: Change) -> None:
        record = change.record
        node = record.fields["spec.nodeName"]
        if change.kind == "DELETED" or record.fields["status.phase"] in FINISHED:
            self._waiting.pop(record.uid, None)
            self._give_back(record.uid)
        elif node and record.uid not in self.placements.pods:
            self._hold(record, node)
        elif not node and record.deleting:
            self._waiting.pop(record.uid, None)
        elif not node and record.uid not in self._waiting:
            self._take_on(record)

    def _take_on(self, record: Record) -> None:
        body = record.body()
        if body["spec"].get("schedulerName", NAME) != NAME:
            return
        if body["spec"].get("schedulingGates"):
            asyncio.get_running_loop().call_soon(self._say_gated, record.key, record.uid)
            return
        self._waiting[record.uid] = Waiting(record.key, demand_of(body))
        self._plan_pass()

    def _say_gated(self, key: Key, uid: str) -> None:
        """The API server writes it, at the pod's creation: it is there while the scheduler is down."""
        record = self._store.get(key)
        if record is None or record.uid != uid:
            return
        body = record.body()
        if body["spec"].get("schedulingGates"):
            set_condition(body, "PodScheduled", holds=False, now=timestamp(), why=GATED)
            self._store.put(record, body)

    def _hold(self, record: Record, node: str) -> None:
        waiting = self._waiting.pop(record.uid, None)
        demand = waiting.demand if waiting else demand_of(record.body())
        self.placements.hold(record.uid, node, demand)

    def _give_back(self, uid: str) -> None:
        if self.placements.give_back(uid):
            self._plan_pass(for_all=True)

    def _plan_pass(self, *, for_all: bool = False) -> None:
        self._all_may_hope |= for_all
        if not self._pass_is_planned and not self._is_down:
            self._pass_is_planned = True
            asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        self._pass_is_planned = False
        if self._is_down:
            return
        for bindings, (record, node) in enumerate(self._hopeful()):
            if bindings == BINDINGS_PER_PASS:
                self._plan_pass()
                return
            self._bind(record, node)
        self._preempt()
        self._write_whys()

    def _hopeful(self) -> Iterator[tuple[Record, Node]]:
        """Each waiting pod that fits on a node, with that node; the caller binds it before the next is looked for.

        Where the first pod of a demand does not fit, no later one does.
        """
        nowhere: set[Demand] = set()
        for uid, waiting in self._in_order():
            nominated = waiting.nominated
            node = None if waiting.demand in nowhere and not nominated else self._best_node(uid, waiting)
            record = self._store.get(waiting.key)
            if node and record:
                yield record, node
            else:
                nowhere.add(waiting.demand)

    def _in_order(self) -> list[tuple[str, Waiting]]:
        return sorted(self._waiting.items(), key=lambda each: -each[1].demand.priority)

    def _bind(self, record: Record, node: Node) -> None:
        body = record.body()
        body["spec"]["nodeName"] = node.name
        body["status"].pop("nominatedNodeName", None)
        set_condition(body, "PodScheduled", holds=True, now=timestamp())
        bound = self._store.put(record, body)
        message = f"Successfully assigned {record.key[1]}/{record.key[2]} to {node.name}"
        self._recorder.record(bound, Notice("Normal", "Scheduled", message, NAME, "Binding"))

    def _best_node(self, uid: str, waiting: Waiting) -> Node | None:
        """The least allocated one, as kube-scheduler spreads by default; first the one that was cleared for the pod."""
        demand, reach = waiting.demand, self._reach(waiting.demand)
        if reach.missing:
            return None
        used = self._used_for(uid, demand)
        near = [node for node in self.placements.open_to(demand) if reach is ANYWHERE or reach.includes(node.labels)]
        fitting = [node for node in near if not node.lacks(demand, used[node.name])]
        if demand.company:
            placed = self._placed(demand)
            fitting = [node for node in fitting if not demand.company.refusal(node.labels, placed)]
        cleared = next((node for node in fitting if node.name == waiting.nominated), None)
        return cleared or max(fitting, key=lambda node: node.score(demand, used[node.name]), default=None)

    def _used_for(self, uid: str, demand: Demand) -> Mapping[str, Mapping[str, int]]:
        """What is used as a pod of this demand sees it: also what was cleared for others that come before it."""
        return self.placements.used_with(
            (each.nominated, each.demand)
            for other, each in self._waiting.items()
            if each.nominated and other != uid and each.demand.priority >= demand.priority
        )

    def _placed(self, demand: Demand) -> list[Placed]:
        """The labels of all pods that have a place, each with those of its node; for a pod that looks at others."""
        places = self.placements.pods.items() if demand.company else ()
        known = ((self._store.by_uid(uid), self.placements.nodes.get(node)) for uid, (node, _) in places)
        return [(pod.labels, node.labels) for pod, node in known if pod and node]

    def _reach(self, demand: Demand) -> Reach:
        return reach_of(self._store, demand.claims) if demand.claims else ANYWHERE

    def _preempt(self) -> None:
        """Clears a node for each waiting pod whose priority is above that of others, but for one that is cleared."""
        for uid, waiting in self._in_order():
            demand = waiting.demand
            may = demand.preempts and self.placements.has_below(demand.priority)
            if may and not self._is_being_cleared(waiting):
                used, reach = self._used_for(uid, demand), self._reach(demand)
                victims = cheapest_victims(self.placements, demand, used, reach)
                waiting.nominated = victims.node.name if victims else ""
                if victims:
                    self._clear(uid, waiting, victims)

    def _is_being_cleared(self, waiting: Waiting) -> bool:
        on_it = [self._store.by_uid(uid) for uid, _ in self.placements.on(waiting.nominated)]
        return any(record and record.deleting for record in on_it)

    def _clear(self, uid: str, waiting: Waiting, victims: Victims) -> None:
        node = victims.node.name
        record = self._store.get(waiting.key)
        if record:
            body = record.body()
            body["status"]["nominatedNodeName"] = node
            self._store.put(record, body)
        for victim in filter(None, map(self._store.by_uid, victims.uids)):
            body = victim.body()
            disrupted(body, timestamp(), "PreemptionByScheduler", MESSAGE)
            marked = self._store.put(victim, body)
            words = f"Preempted by pod {uid} on node {node}"
            self._recorder.record(marked, Notice("Normal", "Preempted", words, NAME, "Preempting"))
            self._deletions.delete(marked)

    def _write_whys(self) -> None:
        """Says of each pod that was tried why it still waits, in its status and, the first two times, in an event."""
        tried_all, self._all_may_hope = self._all_may_hope, False
        nodes = list(self.placements.nodes.values())
        known: dict[Demand, str] = {}
        for uid, waiting in list(self._waiting.items()):
            if waiting.reason and not tried_all:
                continue
            why = known.get(waiting.demand)
            if why is None:
                demand = waiting.demand
                seen = Seen(self._used_for(uid, demand), self._reach(demand), self._placed(demand))
                why = known[demand] = why_nowhere(demand, nodes, seen)
            self._write_why(uid, waiting, why)

    def _write_why(self, uid: str, waiting: Waiting, why: str) -> None:
        record = self._store.get(waiting.key)
        if record is None:
            return
        if waiting.told < TIMES_TOLD:
            waiting.told += 1
            self._recorder.record(record, Notice("Warning", "FailedScheduling", why, NAME, "Scheduling"))
        if not waiting.reason:
            asyncio.get_running_loop().call_later(self._retry_s, self._try_again, uid)
        if waiting.reason != why:
            waiting.reason = why
            body = record.body()
            set_condition(body, "PodScheduled", holds=False, now=timestamp(), why=("Unschedulable", why))
            self._store.put(record, body)

    def _try_again(self, uid: str) -> None:
        if uid in self._waiting:
            self._plan_pass(for_all=True)
            asyncio.get_running_loop().call_later(self._retry_s, self._try_again, uid)
