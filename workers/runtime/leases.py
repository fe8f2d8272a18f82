"""Until when the messages that this process has claimed are its own, and the keeper that renews their leases."""

import threading
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta

import structlog

from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Token
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.inside.pulse import Pulse
from pgfleet.workers.runtime.inside.trouble import Trouble
from pgfleet.workers.runtime.outcomes import LeaseLostError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

DOING = "renew leases"
# A renewal that fails is tried again while the lease still lasts; one that is not answered fails in time for that.
RETRY_S, ANSWER_S = 1.0, 5.0


class Leases:
    """The leases of one queue in this process; safe to use from every thread."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        # Held while a renewal is asked for: what is dropped meanwhile may be renewed all the same.
        self.renewing = threading.Lock()
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
        self.pulse = Pulse()
        self.trouble = Trouble(", ".join(leases))
        self._conn: kernel.Connection | None = None

    def run(self) -> None:
        pause_s = self.every_s
        while not self.stopping.wait(pause_s):
            self.pulse.beat()
            pause_s = self.every_s
            try:
                self.renew()
            except Exception as error:  # noqa: BLE001  # whatever it is, a keeper that ended would lose all leases
                self.trouble.met(DOING, error)
                self.close()
                pause_s = min(RETRY_S, self.every_s)
            else:
                self.trouble.over(DOING)
        self.close()

    def renew(self) -> None:
        for queue, leases in self.leases.items():
            with leases.renewing:
                self._renew(queue, leases)

    def _renew(self, queue: str, leases: Leases) -> None:
        tokens = leases.tokens()
        metrics.IN_HAND.labels(queue).set(len(tokens))
        if tokens:
            asked_at = time.monotonic()
            kept = kernel.extend(self._connection(), queue, tokens, timedelta(seconds=leases.lease_s))
            leases.renew(kept, asked_at)

    def _connection(self) -> kernel.Connection:
        if self._conn is None or self._conn.closed:
            self._conn = open_session(self.dsn, autocommit=True, longest_s=max(ANSWER_S, self.every_s), writes=True)
        return self._conn

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()

    def stop(self) -> None:
        self.stopping.set()
