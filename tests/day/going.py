"""The day itself: two minutes after two minutes, on a real worker and the sandbox, with the clock that tests move."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, LiteralString

from day.asked import Sent, Trouble
from day.seen import Seen
from pgfleet.console.sandbox.box import Box
from pgfleet.workers.clients.kubernetes.watch.nodes import Nodes
from pgfleet.workers.reservation.cluster.book import Book
from pgfleet.workers.reservation.cluster.looker import Looker
from pgfleet.workers.runtime.outcomes import NotNowError
from worlds.fleet import Connection, Worker, move_clock, send
from worlds.outside.kubernetes import NS
from worlds.reservations import QUEUE

TICK = timedelta(minutes=2)
SWEPT_EVERY = 5  # ticks
LOOKS = 5
# So many messages are claimed at once, when what was asked of the cluster has happened, or after a while: a claim costs
# about as much, however many messages it has. With more claims in a tick, messages keep each other alive.
CLAIMED, PATIENCE_S, GLANCE_S, CLAIMS = 500, 0.15, 0.01, 1000
# As often as this no step fails for good; each is one request.
FAULTS: Sequence[dict[str, Any]] = (
    {"method": "POST", "status": 500},
    {"method": "POST", "drop": True, "after": True},
    {"method": "DELETE", "status": 503},
    {"method": "GET", "status": 429, "retry_after": 1},
)
SENT_NOW = "update pgmq.q_gpu_reservations set enqueued_at = public.fleet_now() where msg_id = %s"
# No pod is about to start or to go for what has just been decided; those on nodes that are silent stay for long.
IS_QUIET = """
select not exists (
  select from public.reservations r
  left join public.gpu_pods p on p.reservation_id = r.reservation_id and p.gone_at is null
  where r.reservation_ended is null and r.gpus_held > 0 and r.status_since = public.fleet_now()
    and (r.status = 'preparing' and (p.is_ready or p.node_name is null) is not true
      or r.status not in ('preparing', 'active') and p.pod_uid is not null))
"""
# A settled day: nobody waits, and nothing is left outside.
LIVE = "select count(*) from public.reservations where reservation_ended is null"


@dataclass(slots=True)
class Day:
    conn: Connection
    box: Box
    worker: Worker
    seen: Seen
    types: Sequence[str]
    begin: datetime
    dice: Random
    ticks: int = 0
    undone: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)

    @property
    def at_h(self) -> float:
        return self.ticks * (TICK / timedelta(hours=1))

    def run(self, sent: Sequence[Sent], troubles: Sequence[Trouble], most_h: float) -> None:
        """Through all that is sent and goes wrong, until all has ended."""
        coming, bad = list(reversed(sent)), list(reversed(troubles))
        while coming or bad or self.undone or self._live():
            assert self.at_h < most_h, f"stuck: {self._stuck()}"
            self._undo()
            while bad and bad[-1].at_h <= self.at_h:
                self._trouble(bad.pop())
            while coming and coming[-1].at_h <= self.at_h:
                self._send(coming.pop())
            self._tick()
        # Tickets of those that have just ended.
        self.worker.run()

    def _tick(self) -> None:
        if self.ticks % SWEPT_EVERY == 0:
            send(self.conn, QUEUE, {"action": "sweep"})
            send(self.conn, QUEUE, {"action": "sweep_pods"})
        self._look_at_nodes()
        self._work()
        for gpu_type in self.types:
            self.seen.look(gpu_type)
        move_clock(self.conn, TICK.total_seconds())
        self.ticks += 1

    def _work(self) -> None:
        """Answer all that is due, and what that makes due."""
        for _ in range(CLAIMS):
            if not self.worker.run_once(CLAIMED):
                return
            self._rest()
        raise AssertionError(f"messages keep each other alive: {self._stuck()}")

    def _rest(self) -> None:
        """Until the cluster has done what it was asked for, so that one claim has what comes of it; not for long."""
        deadline = time.monotonic() + PATIENCE_S
        while self._one(IS_QUIET) is False and time.monotonic() < deadline:
            threading.Event().wait(GLANCE_S)

    def _look_at_nodes(self) -> None:
        """A look at all nodes. One that is not answered is begun again, as each minute; in an outage it is missed."""
        pods = self.worker.running.tools.pods
        for _ in range(LOOKS):
            with suppress(NotNowError):
                Looker(Nodes(pods.api, NS, 10), Book(self.worker.running)).look()
                return

    def _send(self, sent: Sent) -> None:
        start = self.begin + timedelta(hours=sent.at_h + sent.start_in_h) if sent.start_in_h is not None else None
        number = send(self.conn, QUEUE, sent.body | ({"start_at": start.isoformat()} if start else {}))
        # pgmq's own clock is not moved, and a reservation comes when its message was sent.
        self.conn.execute(SENT_NOW, (number,))

    def _trouble(self, trouble: Trouble) -> None:
        until = self.at_h + trouble.for_h
        match trouble.what:
            case "node":
                name = self.dice.choice(sorted(set(self._nodes()) - self.silent))
                self.box.node(name, silent=True)
                self.undone.append((until, lambda: self.box.node(name, silent=False)))
            case "outage":
                self.box.outage()
                self.undone.append((until, self.box.clear_faults))
            case _:
                for fault in FAULTS:
                    self.box.fault(f"/namespaces/{NS}/(pods|services)", times=2, **fault)

    def _undo(self) -> None:
        due = [each for each in self.undone if each[0] <= self.at_h]
        self.undone = [each for each in self.undone if each[0] > self.at_h]
        for _, undo in due:
            undo()

    def _nodes(self) -> Iterator[str]:
        for (name,) in self.conn.execute("select node_name from public.gpu_nodes where gone_at is null"):
            yield name

    def _live(self) -> int:
        return int(self._one(LIVE))

    def _one(self, query: LiteralString) -> Any:
        row = self.conn.execute(query).fetchone()
        assert row is not None
        return row[0]

    def _stuck(self) -> list[tuple[Any, ...]]:
        query = (
            "select reservation_id, status, current_detailed_status, held_by, status_since from public.reservations"
            " where reservation_ended is null limit 10"
        )
        return self.conn.execute(query).fetchall()
