"""Until when the messages that this process has claimed are its own, and the keeper that renews their leases."""

import threading
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta

import psycopg
import structlog

from pgfleet.schema.database.dsn import ALIVE
from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Token
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.outcomes import LeaseLostError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Leases:
    """The leases of one queue in this process; safe to use from every thread."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        self._until: dict[Token, float] = {}
        self._lock = threading.Lock()

    def take(self, tokens: Iterable[Token], asked_at: float) -> None:
        """Note a claim that was asked for at `asked_at` (time.monotonic)."""
        with self._lock:
            self._until.update(dict.fromkeys(tokens, asked_at + self.lease_s))

    def renew(self, tokens: Iterable[Token], asked_at: float) -> None:
        """Note a renewal, but only of what has not been dropped since."""
        with self._lock:
            self._until.update({t: asked_at + self.lease_s for t in tokens if t in self._until})

    def drop(self, tokens: Iterable[Token]) -> None:
        with self._lock:
            for token in tokens:
                self._until.pop(token, None)

    def tokens(self) -> list[Token]:
        with self._lock:
            return list(self._until)

    def hold(self, token: Token) -> None:
        """Raise LeaseLostError unless the message is ours for a while yet."""
        if time.monotonic() >= self._until.get(token, 0):
            raise LeaseLostError(f"message {token.msg_id} is no longer ours")


class LeaseKeeper(threading.Thread):
    """Renews every third of a lease. A lease that can't be renewed ends, and its message goes to another worker."""

    def __init__(self, dsn: str, leases: Mapping[str, Leases], lease_s: float) -> None:
        super().__init__(name="lease-keeper", daemon=True)
        self.dsn = dsn
        self.leases = leases
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
        for queue, leases in self.leases.items():
            tokens = leases.tokens()
            metrics.IN_HAND.labels(queue).set(len(tokens))
            if not tokens:
                continue
            asked_at = time.monotonic()
            kept = kernel.extend(self._connection(), queue, tokens, timedelta(seconds=leases.lease_s))
            leases.renew(kept, asked_at)

    def _connection(self) -> kernel.Connection:
        if self._conn is None or self._conn.closed:
            self._conn = psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None, **ALIVE)
        return self._conn

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()

    def stop(self) -> None:
        self.stopping.set()
