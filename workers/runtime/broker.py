"""The dramatiq broker: its consumers claim batches, and one dramatiq message carries a whole claim."""

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import dramatiq
import psycopg
import structlog
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.common import current_millis
from dramatiq.errors import QueueNotFound

from pgfleet.schema.database.dsn import redact
from pgfleet.schema.queue import claims, kernel, periodic
from pgfleet.schema.queue.front import Front
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.decide import release
from pgfleet.workers.runtime.inside.lost import LostClaims
from pgfleet.workers.runtime.inside.trouble import Trouble, is_away
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.settle import is_gone, settle
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.wake import Pause
from pgfleet.workers.runtime.work import write

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CLAIM, HOUSE = "claim messages", "send what is due and keep house"
# A multiple of `poll_s` as it comes: an idle worker does both at once, and not one shortly after the other.
PERIODIC_CHECK_S = 6.0
PRUNING_S = 0.05
FIRST_PRUNING_S = 5.0
# Where each thread is at a step that lasts, it is looked so often whether one has ended it.
FULL_S = 0.05


class FleetBroker(dramatiq.Broker):
    """Consumes PGMQ queues in batches. It never enqueues: messages are sent in SQL."""

    def __init__(self, middleware: list[dramatiq.Middleware]) -> None:
        super().__init__(middleware=middleware)
        self.running: dict[str, Running] = {}

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        if queue_name not in self.running:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]
        return ClaimConsumer(self.running[queue_name], claims=max(1, prefetch // 2), timeout_s=timeout / 1000)


class ClaimConsumer(Consumer):
    """Claims a batch whenever a worker thread is free to take it.

    A message that was claimed before and never answered may have ended its worker. It runs alone: after everything else
    that was claimed here, and nothing is claimed until it has been answered.
    """

    def __init__(self, running: Running, claims: int, timeout_s: float) -> None:
        self.running = running
        self.timeout_s = timeout_s
        self.claims = claims
        self.batch = running.settings.effect_threads if running.kind.effects else running.kind.batch
        self.busy = 0
        self.changed = threading.Condition()
        self.suspects: deque[Task] = deque()
        self.lost = LostClaims(running.kind.queue, running.settings.lease)
        self.alone = False
        self.emptied = False
        self.pause = Pause(running.arrived, running.settings.poll_s)
        self.front = Front()
        self.periodic_at = 0.0
        self.pruned = False
        self.house = Trouble(running.kind.queue)
        self.untidy: dict[str, str | None] = {}

    def __next__(self) -> MessageProxy | None:
        self.running.pulse.beat()
        try:
            if self.running.draining.is_set():
                _give_back(self.running, list(self.suspects))
                self.suspects.clear()
                self._give_back_lost()
                time.sleep(min(self.timeout_s, 0.05))
                return None
            pause_s = self.running.trouble.pause_s()
            if pause_s > 0:
                self._rest(pause_s)
                return None
            if not self.running.ready.wait(self.timeout_s) or not self._may_claim():
                return None
            if self._room() < 1:
                self._rest(FULL_S)
                return None
            batch = self._next_batch()
        except Exception as error:  # noqa: BLE001  # dramatiq would begin again without what this consumer knows
            self._rest(self.running.trouble.met(CLAIM, error))
            return None
        return self._proxy(batch) if batch else None

    def _rest(self, pause_s: float) -> None:
        self.running.draining.wait(min(pause_s, self.timeout_s))

    def _may_claim(self) -> bool:
        """Whether a thread is free; with suspects waiting or at work, whether all are."""
        allowed = 1 if self.suspects or self.alone else self.claims
        with self.changed:
            return self.changed.wait_for(lambda: self.busy < allowed, self.timeout_s)

    def _room(self) -> int:
        """How many messages to claim: none for a thread whose step lasts, which another process may have free."""
        return self.batch - self.running.progress.lasting() if self.running.threads is not None else self.batch

    def _next_batch(self) -> list[Task]:
        self.alone = bool(self.suspects)
        if self.alone:
            return [self.suspects.popleft()]
        self._send_due()
        if self.emptied:
            # The threads that step what was just claimed go first; a message that arrives ends the wait.
            self.emptied = False
            self.pause.wait(None)
        room = max(self._room(), 1)
        batch, due_s = self._claim(room)
        if not batch:
            self.pause.wait(self._until_due_s(due_s))
            return []
        self.pause.active()
        self.emptied = len(batch) < room
        self.suspects.extend(task for task in batch if task.suspect)
        return [task for task in batch if not task.suspect]

    def _until_due_s(self, due_s: float | None) -> float:
        """Until the next message, or periodic work: the offline sweep takes one that is seconds late for an absence."""
        periodic_s = self.periodic_at - time.monotonic()
        return periodic_s if due_s is None else min(due_s, periodic_s)

    def _claim(self, most: int) -> tuple[list[Task], float | None]:
        self._give_back_lost()
        self.pause.clear()
        with self.running.pool.connection(timeout=5) as conn:
            asked_at, mark = time.monotonic(), claims.new_mark()
            try:
                messages, due_s = self._claim_as(conn, most, mark)
            except Exception as error:
                self.lost.add(mark, asked_at, answered=not is_gone(error))
                raise
        self.running.trouble.over(CLAIM)
        self.running.leases.take((message.token for message in messages), asked_at)
        metrics.CLAIMED.labels(self.running.kind.queue).inc(len(messages))
        return [Task.of(message) for message in messages], due_s

    def _claim_as(self, conn: kernel.Connection, most: int, mark: str) -> tuple[list[kernel.Message], float | None]:
        kind, lease = self.running.kind, self.running.settings.lease
        return claims.claim(conn, kind.queue, most, lease, durable=kind.effects, mark=mark, front=self.front)

    def _give_back_lost(self) -> None:
        """Give back claims whose answer never came, and write the end of what ended while the database was away."""
        running, at_work = self.running, self.running.progress.at_work()
        ended = [task for task in list(running.abandoned) if task not in at_work]
        if not ended and not self.lost.claims:
            return
        with running.pool.connection(timeout=5) as conn:
            self.lost.give_back(conn)
            settle(conn, running.kind.queue, [release(task) for task in ended], running.author)
        for task in ended:
            running.abandoned.remove(task)

    def _send_due(self) -> None:
        if time.monotonic() < self.periodic_at:
            return
        self.periodic_at = time.monotonic() + PERIODIC_CHECK_S
        try:
            self._keep_periodic()
        except psycopg.Error as error:
            if is_away(error):
                raise
            # Messages are worked on all the same.
            self.periodic_at += self.house.met(HOUSE, error)
        else:
            self.house.over(HOUSE)

    def _keep_periodic(self) -> None:
        with self.running.pool.connection(timeout=5) as conn:
            running = self.running
            me, in_hand = running.author.name, len(running.leases.tokens())
            due = periodic.look_after(conn, running.kind.queue, me, in_hand)
            if due.moved:
                log.error("deletes.paused", advice="the database was restored: see `pgfleet doctor`")
            if due.to_send:
                for name in periodic.send_due(conn, running.kind.queue):
                    log.debug("periodic.sent", name=name)
            if due.to_tidy:
                self._keep_house(conn)
            self.pruned = True

    def _keep_house(self, conn: kernel.Connection) -> None:
        """Prune tables for a short while; before the first claim of the process, all of them."""
        enough = time.monotonic() + (PRUNING_S if self.pruned else FIRST_PRUNING_S)
        try:
            while time.monotonic() < enough and (tidied := periodic.keep_house(conn)):
                self._note_tidied(*tidied)
        except psycopg.Error as error:
            # Work goes on without it, unless it is the database that has gone.
            if conn.broken or conn.closed:
                raise
            self._note_tidied("public.retention", redact(str(error)))

    def _note_tidied(self, table: str, problem: str | None) -> None:
        """What can't be tidied is told once, and again when it is another reason; the doctor tells it as well."""
        if problem and self.untidy.get(table) != problem:
            log.error("house.failed", table=table, reason=problem)
        elif not problem:
            log.debug("house.kept", table=table)
        self.untidy[table] = problem

    def _proxy(self, batch: list[Task]) -> MessageProxy:
        with self.changed:
            self.busy += 1
        kind = self.running.kind
        message: dramatiq.Message[Any] = dramatiq.Message(
            queue_name=kind.queue,
            actor_name=kind.name,
            args=(batch,),
            kwargs={},
            options={},
            message_timestamp=current_millis(),
        )
        return MessageProxy(message)

    def ack(self, message: MessageProxy) -> None:  # noqa: ARG002  # dramatiq's interface
        """A claim has been worked on; its messages were settled one by one, so only its place is freed."""
        with self.changed:
            self.busy -= 1
            self.changed.notify_all()

    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back claims that no thread has taken, at shutdown."""
        for message in messages:
            _give_back(self.running, message.args[0])


def _give_back(running: Running, tasks: list[Task]) -> None:
    write(running, [release(task) for task in tasks])
    running.leases.drop(task.token for task in tasks)
