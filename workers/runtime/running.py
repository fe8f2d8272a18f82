"""A kind as it runs in this process, and how its threads use the database."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any, TypeVar

import structlog

from pgfleet.schema.database.pool import Pool
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.inside.opening import in_words
from pgfleet.workers.runtime.inside.progress import Progress
from pgfleet.workers.runtime.inside.pulse import Pulse
from pgfleet.workers.runtime.inside.threads import Threads
from pgfleet.workers.runtime.inside.trouble import FIRST_PAUSE_S, LACKING, Trouble
from pgfleet.workers.runtime.kind import AnyKind, Kind
from pgfleet.workers.runtime.leases import Leases
from pgfleet.workers.runtime.outside.breakers import Breakers
from pgfleet.workers.runtime.settle import GONE, Author
from pgfleet.workers.runtime.task import Task

log: structlog.stdlib.BoundLogger = structlog.get_logger()

DRAIN_PATIENCE_S = 5.0
# The server is away, or too busy to answer, or lets us do nothing: what was asked may be asked again.
UNREACHABLE = (*GONE, *LACKING)


@dataclass(frozen=True)
class Running:
    """A kind with its settings, tools, connections and leases in this process.

    Attributes:
        progress: what its threads have in hand.
        trouble: what does not work in the database.
        draining: set when the process is to end: nothing more is claimed.
        arrived: set when messages may have arrived in its queue.
        breakers: what is in trouble outside, as this process knows it.
        threads: those that effects run in, if its steps have effects.
        ready: unset while something is lacking that its messages can't be worked on without: nothing is claimed.
        pulse: of its consumer.
        abandoned: what could not be answered as the database was away: its end is written when it is back.
    """

    kind: AnyKind
    settings: Settings
    pool: Pool
    leases: Leases
    progress: Progress
    trouble: Trouble
    author: Author
    tools: Any
    draining: Event
    arrived: Event
    breakers: Breakers
    threads: Threads | None = None
    ready: Event = field(default_factory=lambda: _set(Event()))
    pulse: Pulse = field(default_factory=Pulse)
    abandoned: deque[Task] = field(default_factory=deque)


def _set(event: Event) -> Event:
    event.set()
    return event


def stepped_kind(running: Running) -> Kind[Any, Any, Any]:
    """The kind, where each message is stepped on its own."""
    assert isinstance(running.kind, Kind)  # noqa: S101  # for the type checker
    return running.kind


def abandon(running: Running, tasks: Sequence[Task], error: Exception) -> None:
    """A claim was not answered; what the database refused has been told where it was asked."""
    held = set(running.leases.tokens())
    left = [task for task in tasks if task.token in held]
    away = isinstance(error, UNREACHABLE)
    if away:
        running.abandoned.extend(left)
    trace = None if away else error
    log.error("claim.abandoned", queue=running.kind.queue, messages=len(left), reason=in_words(error), exc_info=trace)


R = TypeVar("R")


def with_connection(running: Running, use: Callable[[Connection], R], doing: str = "use the database") -> R:
    """Use a connection; while the server is away or lets us do nothing, for as long as the claim may still be ours."""
    started = time.monotonic()
    while True:
        try:
            with running.pool.connection(timeout=5) as conn:
                result = use(conn)
        except UNREACHABLE as error:
            pause_s = running.trouble.met(doing, error)
            patience_s = DRAIN_PATIENCE_S if running.draining.is_set() else running.leases.lease_s
            if time.monotonic() - started > patience_s:
                raise
            if running.draining.is_set() or running.draining.wait(pause_s):
                time.sleep(FIRST_PAUSE_S)
        else:
            running.trouble.over(doing)
            return result
