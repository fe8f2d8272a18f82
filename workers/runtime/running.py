"""A kind as it runs in this process, and how its threads use the database."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

import structlog
from psycopg_pool import ConnectionPool, PoolTimeout

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.kind import AnyKind, Kind
from pgfleet.workers.runtime.leases import Leases
from pgfleet.workers.runtime.settle import GONE, Author

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# The server is away, or too busy to answer: what was asked may be asked again.
DRAIN_PATIENCE_S = 5.0
UNREACHABLE = (*GONE, PoolTimeout)


@dataclass(frozen=True)
class Running:
    """A kind with its settings, tools, connections and leases in this process.

    Attributes:
        draining: set when the process is to end: nothing more is claimed.
        arrived: set when messages may have arrived in its queue.
        threads: those that effects run in, if its steps have effects.
    """

    kind: AnyKind
    settings: Settings
    pool: ConnectionPool[Connection]
    leases: Leases
    author: Author
    tools: Any
    draining: Event
    arrived: Event
    threads: ThreadPoolExecutor | None = None


def stepped_kind(running: Running) -> Kind[Any, Any, Any]:
    """The kind, where each message is stepped on its own."""
    assert isinstance(running.kind, Kind)  # noqa: S101  # for the type checker
    return running.kind


R = TypeVar("R")


def with_connection(running: Running, use: Callable[[Connection], R]) -> R:
    """Use a connection; after a server restart try again for as long as the claim may still be ours."""
    started = time.monotonic()
    while True:
        try:
            with running.pool.connection(timeout=5) as conn:
                return use(conn)
        except UNREACHABLE as error:
            patience_s = DRAIN_PATIENCE_S if running.draining.is_set() else running.leases.lease_s
            if time.monotonic() - started > patience_s:
                raise
            log.warning("database.unreachable", queue=running.kind.queue, error=str(error).strip())
            time.sleep(0.2)
