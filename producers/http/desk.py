"""What `pgfleet serve` answers with, opened once: sessions, proofs, limits, the audit."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psycopg
import sqlalchemy as sa
import structlog

from pgfleet.producers.http.answering import Desk
from pgfleet.producers.http.endpoint import Audit
from pgfleet.producers.http.gateway.batcher import gateway_of
from pgfleet.producers.http.health.ending import Ending
from pgfleet.producers.http.health.examining import Examining
from pgfleet.producers.http.health.metrics import SESSIONS, WAITING
from pgfleet.producers.http.health.readiness import Readiness
from pgfleet.producers.http.limits.buckets import Buckets, Policy
from pgfleet.producers.http.limits.fullness import Fill, Fullness
from pgfleet.producers.http.sessions import open_pool
from pgfleet.producers.http.settings import ServeSettings
from pgfleet.producers.http.who.oidc import Oidc
from pgfleet.producers.http.who.proving import Prover
from pgfleet.schema.database.pool import Pool
from pgfleet.schema.identity import audit, keys, people
from pgfleet.schema.identity.people import Verified
from pgfleet.schema.kinds import contracts
from pgfleet.schema.nodes import keys as nodes
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import FLEET_NOW, fetch, queue_table
from pgfleet.schema.settings import Settings

log: structlog.stdlib.BoundLogger = structlog.get_logger()
COUNTED_EVERY_S = 5.0
# Addresses of one look at the counts; what is beyond them is counted together.
MOST_ADDRESSES = 1000


@dataclass
class Trail:
    """The audit: of who is proven a row each; of others, and of heartbeats, how many are refused, every few seconds."""

    pool: Pool
    _refused: dict[str, int] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _ending: threading.Event = field(default_factory=threading.Event, init=False)

    def note(  # noqa: PLR0913  # as a row of audit_logs has it
        self,
        conn: Connection,
        noted: Audit,
        about: str | None,
        name: str | None,
        error: str | None = None,
        kept: audit.Kept | None = None,
    ) -> None:
        """In the caller's transaction, which speaks for a principal; with an error it is a failure."""
        row = audit.Noted(noted.action, noted.category, noted.resource, about, name, noted.reason)
        audit.note(conn, row, error=error, kept=kept)

    def refused_nobody(self, address: str | None) -> None:
        """Counted, and written down later: whoever is nobody costs no statement."""
        with self._lock:
            key = address or "unknown"
            if key not in self._refused and len(self._refused) >= MOST_ADDRESSES:
                key = "others"
            self._refused[key] = self._refused.get(key, 0) + 1

    def refused_node(self, node: str) -> None:
        """The same of a node's heartbeats that are none."""
        self.refused_nobody(f"node {node}")

    def write(self) -> None:
        """Write down the counts; what the database does not take now is kept for the next time."""
        with self._lock:
            counted, self._refused = self._refused, {}
        try:
            with self.pool.connection() as conn:
                for address in list(counted):
                    audit.note_refusals(conn, address, counted[address])
                    del counted[address]
        except psycopg.Error as error:
            log.warning("http.refusals_not_counted", error=type(error).__name__)
            with self._lock:
                for address, number in counted.items():
                    self._refused[address] = self._refused.get(address, 0) + number

    def run(self) -> None:
        while not self._ending.wait(COUNTED_EVERY_S):
            if self._refused:
                self.write()
        self.write()

    def stop(self) -> None:
        self._ending.set()


@contextmanager
def desk_of(settings: Settings, serving: ServeSettings) -> Iterator[Desk]:
    """Open all of it; at the end of the block what was counted is written, and sessions are closed.

    Raises:
        FleetError: the database can't be reached or lacks something; the message lists all of it.
    """
    with open_pool(settings, serving) as pool, ExitStack() as stack:
        trail = Trail(pool)
        counting = threading.Thread(target=trail.run, name="refusals", daemon=True)
        counting.start()
        oidc = Oidc(serving)
        oidc.prepare()
        try:
            batcher, ending = stack.enter_context(gateway_of(settings, serving)), Ending()
            readiness = Readiness(pool, batcher.lacking, ending, serving.serve_timeout_s)
            SESSIONS.set_function(lambda: pool.in_use)
            WAITING.set_function(lambda: batcher.waiting)
            yield Desk(
                pool=pool,
                prover=Prover(
                    by_key=keys.principal_of,
                    by_node_key=nodes.principal_of,
                    verify=_verifier(oidc) if oidc else None,
                    by_token=lambda conn, token: people.principal_of(conn, token, oidc.link_issuer),
                ),
                batcher=batcher,
                ending=ending,
                examining=Examining(settings.dsn()),
                readiness=stack.enter_context(readiness.kept()),
                settings=settings,
                serving=serving,
                trail=trail,
                principals=Buckets(Policy("principal", serving.requests_per_s, serving.requests_burst)),
                strangers=Buckets(Policy("address", serving.strangers_per_s, serving.strangers_burst)),
                fullness=_fullness(pool, serving),
            )
        finally:
            trail.stop()
            counting.join(COUNTED_EVERY_S)


def _verifier(oidc: Oidc) -> Callable[[str], Verified]:
    def verify(token: str) -> Verified:
        said = oidc.verify(token)
        return Verified(
            issuer=said.issuer,
            subject=said.subject,
            username=said.username or said.subject,
            email=said.email,
            email_verified=said.email_verified,
            full_name=said.name,
            role=said.role and said.role.value,
            expires_at=said.expires_at,
        )

    return verify


def _fullness(pool: Pool, serving: ServeSettings) -> Fullness:
    most = serving.queue_most_waiting

    def look() -> Mapping[str, Fill]:
        with pool.connection() as conn:
            return {contract.queue: _fill(conn, contract.queue, most + 1) for contract in contracts().values()}

    return Fullness(look, most, serving.queue_oldest_s)


def _fill(conn: Connection, queue: str, most: int) -> Fill:
    """What is due, counted no further than it matters. What comes back by time is due long before it was sent."""
    q = queue_table(queue).c
    due = (
        sa.select(sa.func.greatest(q.vt, q.enqueued_at).label("since")).where(q.vt <= FLEET_NOW).limit(most).subquery()
    )
    age_s = sa.cast(sa.extract("epoch", FLEET_NOW - sa.func.min(due.c.since)), sa.Double)
    (row,) = fetch(conn, sa.select(sa.func.count().label("waiting"), age_s.label("oldest_s")).select_from(due))
    return Fill(row["waiting"], max(row["oldest_s"] or 0.0, 0.0))
