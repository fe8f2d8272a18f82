"""The workbench: where one kind is worked on in this process, and how its threads get at the database."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from psycopg_pool import ConnectionPool, PoolTimeout

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.hand import Hand
from pgfleet.workers.runtime.kind import AnyKind, Kind
from pgfleet.workers.runtime.settle import GONE, Author

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# The server is away, or too busy to answer: what was asked may be asked again.
DRAIN_PATIENCE_S = 5.0
UNREACHABLE = (*GONE, PoolTimeout)


@dataclass(frozen=True)
class Bench:
    """A kind with its settings, tools, connections and leases in this process."""

    kind: AnyKind
    settings: Settings
    pool: ConnectionPool[Connection]
    hand: Hand
    author: Author
    tools: Any
    draining: Event
    bell: Event
    threads: ThreadPoolExecutor | None = None

    def event(self, table: sa.Table, status: str) -> str:
        """The name of a move in the log: `reservation.active`; by its machine, where a table has one of its own."""
        return f"{table.info.get('machine', self.kind.name)}.{status}"


def stepped_kind(bench: Bench) -> Kind[Any, Any, Any]:
    """The kind, where each message is stepped on its own."""
    assert isinstance(bench.kind, Kind)  # noqa: S101  # for the type checker
    return bench.kind


R = TypeVar("R")


def with_connection(bench: Bench, use: Callable[[Connection], R]) -> R:
    """Use a connection; after a server restart try again for as long as the claim may still be ours."""
    started = time.monotonic()
    while True:
        try:
            with bench.pool.connection(timeout=5) as conn:
                return use(conn)
        except UNREACHABLE as error:
            patience_s = DRAIN_PATIENCE_S if bench.draining.is_set() else bench.hand.lease_s
            if time.monotonic() - started > patience_s:
                raise
            log.warning("database.unreachable", queue=bench.kind.queue, error=str(error).strip())
            time.sleep(0.2)
