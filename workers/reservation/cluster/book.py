"""What was seen of the cluster, written down for all workers by the functions of `schema/176_gpu_nodes.sql`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.schema.queue.kernel import sign
from pgfleet.schema.rows.named import named
from pgfleet.workers.clients.kubernetes.watch.nodes import GpuNode
from pgfleet.workers.runtime.running import Running

SQL = named(__package__)


@dataclass(frozen=True)
class Book:
    """Each call is a transaction of its own, signed by this worker.

    Raises:
        psycopg.Error: it may not have been written.
    """

    running: Running

    def now(self) -> datetime:
        found: datetime = self._ask(SQL["now"])
        return found

    def pods(self, pods: Iterable[Mapping[str, Any]], namespace: str, listed_at: datetime | None = None) -> None:
        """Some pods; with the time that their list was begun at, all of the namespace."""
        self._ask(SQL["see_pods"], pods=Jsonb(list(pods)), namespace=namespace, listed_at=listed_at)

    def service_gone(self, pod_uid: str, version: str) -> None:
        self._ask(SQL["see_service_gone"], pod=pod_uid, version=version)

    def pod_events(self, events: Iterable[Mapping[str, Any]]) -> None:
        self._ask(SQL["see_pod_events"], events=Jsonb(list(events)))

    def nodes(self, nodes: Iterable[GpuNode], listed_at: datetime | None = None, *, are_gone: bool = False) -> None:
        """Some nodes; with the time that their list was begun at, all."""
        written = [{**asdict(node), "is_gone": are_gone} for node in nodes]
        self._ask(SQL["see_nodes"], nodes=Jsonb(written), listed_at=listed_at)

    def take_look(self) -> float:
        """0 where the look at everything is this worker's now, else in how many seconds it is due."""
        found: float = self._ask(SQL["take_look"])
        return found

    def note_look(self, others: Mapping[str, int] | None, problem: str | None) -> None:
        """What a look has found: GPUs of others' pods by node; None where it saw nothing."""
        given = None if others is None else Jsonb(dict(others))
        self._ask(SQL["note_look"], looker=self.running.author.name, others=given, problem=problem)

    def _ask(self, statement: bytes, **given: Any) -> Any:
        author = self.running.author
        with self.running.pool.connection(timeout=5) as conn, conn.transaction():
            sign(conn, author.name, author.timeout_s)
            row = conn.execute(statement, given).fetchone()
        return row and row[0]
