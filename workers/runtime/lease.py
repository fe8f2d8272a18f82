"""The lease keeper: renews the leases of what this process has in hand, on a connection of its own."""

import threading
import time
from collections.abc import Sequence

import psycopg
import structlog

from pgfleet.schema.database.dsn import ALIVE
from pgfleet.schema.queue import kernel
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.bench import Bench

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class LeaseKeeper(threading.Thread):
    """Renews every third of a lease. A lease that can't be renewed ends, and its message goes to another worker."""

    def __init__(self, dsn: str, benches: Sequence[Bench], lease_s: float) -> None:
        super().__init__(name="lease-keeper", daemon=True)
        self.dsn = dsn
        self.benches = benches
        self.every_s = lease_s / 3
        self.stopping = threading.Event()
        self._conn: kernel.Connection | None = None

    def run(self) -> None:
        while not self.stopping.wait(self.every_s):
            try:
                self.renew()
            except psycopg.Error as error:
                log.warning("lease.unreachable", error=str(error).strip())
                self.close()
        self.close()

    def renew(self) -> None:
        for bench in self.benches:
            tokens = bench.hand.tokens()
            metrics.IN_HAND.labels(bench.kind.queue).set(len(tokens))
            if not tokens:
                continue
            asked_at = time.monotonic()
            kept = kernel.extend(self._connection(), bench.kind.queue, tokens, bench.settings.lease)
            bench.hand.renew(kept, asked_at)

    def _connection(self) -> kernel.Connection:
        if self._conn is None or self._conn.closed:
            self._conn = psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None, **ALIVE)
        return self._conn

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()

    def stop(self) -> None:
        self.stopping.set()
