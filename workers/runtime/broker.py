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
from psycopg_pool import PoolTimeout

from pgfleet.schema.queue import kernel
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.decide import release
from pgfleet.workers.runtime.running import Running
from pgfleet.workers.runtime.task import Task
from pgfleet.workers.runtime.wake import Pause
from pgfleet.workers.runtime.work import write

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PERIODIC_CHECK_S = 5.0
PRUNING_S = 0.05
FIRST_PRUNING_S = 5.0


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

    A message whose last owner died may have killed it. It runs alone: after everything else that was claimed here,
    and nothing is claimed until it has been answered.
    """

    def __init__(self, running: Running, claims: int, timeout_s: float) -> None:
        self.running = running
        self.timeout_s = timeout_s
        self.claims = claims
        self.batch = running.settings.effect_threads if running.kind.effects else running.kind.batch
        self.busy = 0
        self.changed = threading.Condition()
        self.suspects: deque[Task] = deque()
        self.alone = False
        self.emptied = False
        self.pause = Pause(running.arrived, running.settings.poll_s)
        self.periodic_at = 0.0
        self.pruned = False

    def __next__(self) -> MessageProxy | None:
        try:
            if self.running.draining.is_set():
                _give_back(self.running, list(self.suspects))
                self.suspects.clear()
                time.sleep(min(self.timeout_s, 0.05))
                return None
            if not self._may_claim():
                return None
            batch = self._next_batch()
        except (psycopg.Error, PoolTimeout) as error:
            log.warning("database.unreachable", queue=self.running.kind.queue, error=str(error).strip())
            self.running.draining.wait(0.2)
            return None
        return self._proxy(batch) if batch else None

    def _may_claim(self) -> bool:
        """Whether a thread is free; with suspects waiting or at work, whether all are."""
        allowed = 1 if self.suspects or self.alone else self.claims
        with self.changed:
            return self.changed.wait_for(lambda: self.busy < allowed, self.timeout_s)

    def _next_batch(self) -> list[Task]:
        self.alone = bool(self.suspects)
        if self.alone:
            return [self.suspects.popleft()]
        self._send_due()
        if self.emptied:
            # The threads that step what was just claimed go first; a message that arrives ends the wait.
            self.emptied = False
            self.pause.wait(None)
        batch, due_s = self._claim()
        if not batch:
            self.pause.wait(due_s)
            return []
        self.pause.active()
        self.emptied = len(batch) < self.batch
        self.suspects.extend(task for task in batch if task.deaths > 0)
        return [task for task in batch if task.deaths <= 0]

    def _claim(self) -> tuple[list[Task], float | None]:
        running = self.running
        self.pause.clear()
        with running.pool.connection(timeout=5) as conn:
            asked_at = time.monotonic()
            messages, due_s = kernel.claim(
                conn, running.kind.queue, self.batch, running.settings.lease, durable=running.kind.effects
            )
        running.leases.take((message.token for message in messages), asked_at)
        metrics.CLAIMED.labels(running.kind.queue).inc(len(messages))
        return [Task.of(message) for message in messages], due_s

    def _send_due(self) -> None:
        if time.monotonic() < self.periodic_at:
            return
        self.periodic_at = time.monotonic() + PERIODIC_CHECK_S
        with self.running.pool.connection(timeout=5) as conn:
            names = kernel.send_due(conn, self.running.kind.queue)
            tidied = self._keep_house(conn)
        for name in names:
            log.debug("periodic.sent", name=name)
        for table in tidied:
            log.debug("house.kept", table=table)

    def _keep_house(self, conn: kernel.Connection) -> list[str]:
        """Prune tables for a short while; before the first claim of the process, all of them."""
        enough = time.monotonic() + (PRUNING_S if self.pruned else FIRST_PRUNING_S)
        self.pruned = True
        tidied: list[str] = []
        while time.monotonic() < enough and (table := kernel.keep_house(conn)):
            tidied.append(table)
        return tidied

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
