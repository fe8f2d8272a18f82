"""Heartbeats in a database: a worker in the test's thread, nodes and clusters, and what there is to see."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from pgfleet.workers.heartbeat.machine import KIND
from pgfleet.workers.runtime.leases import Leases
from worlds.clusters import add, create
from worlds.fleet import Connection, Worker, new_id, settings_for, worker_on

CLEAN = """
create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe
as 'select statement_timestamp()';
delete from pgmq.q_node_heartbeats;
delete from public.dead_letters;
delete from public.offline_sweeps;
delete from public.heartbeat_ids;
delete from autoscaler.system_analytics;
delete from autoscaler.nodes;
update clusters.cluster_nodes set deleted_at = now() where deleted_at is null;
"""
# Sweeps have come one after the other for long, the last one just now.
WATCHED = """
insert into public.offline_sweeps (machine, swept_at, alive, silent, marked, watching_since)
select machine, public.fleet_now(), 0, 0, 0, 'epoch' from unnest('{node,cluster_node}'::text[]) machine
on conflict (machine) do update set swept_at = excluded.swept_at, watching_since = 'epoch'
"""


@dataclass(frozen=True)
class Heart:
    """The heartbeat kind in a database. Messages are sent at the fleet's time, which tests move."""

    dsn: str
    conn: Connection
    worker: Worker

    def clean(self) -> "Heart":
        """Real time again, and nothing of the tests before."""
        self.conn.execute(CLEAN)
        return self

    def one(self, statement: str, values: Any = None) -> Any:
        row = self.conn.execute(statement.encode(), values).fetchone()
        assert row is not None
        return row[0]

    def all(self, statement: str, values: Any = None) -> list[Any]:
        rows = self.conn.execute(statement.encode(), values).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    def node(self, name: str = "n", region: str = "eu") -> int:
        return int(self.one("insert into autoscaler.nodes (name, region) values (%s, %s) returning id", (name, region)))

    def cluster_node(self, cluster: str | None = None, **given: Any) -> str:
        return add(self.conn, cluster or create(self.conn), **given)

    def time(self, ahead_s: float = 0) -> str:
        """The fleet's time, as a node writes it."""
        at = self.one("select public.fleet_now() + make_interval(secs => %s)", (ahead_s,))
        return str(at.isoformat())

    def beat(self, node: int | str, ahead_s: float = 0, /, **given: Any) -> dict[str, Any]:
        """A message, not sent yet: sent_at is so many seconds ahead of the fleet's time."""
        source = "autoscaler" if isinstance(node, int) else "cluster"
        body = {"action": "heartbeat", "id": new_id(), "source": source, "node_id": node, "status": "ok"}
        return {**body, "sent_at": self.time(ahead_s), **given}

    def send(self, *bodies: Any) -> list[int]:
        return [
            self.one(
                "insert into pgmq.q_node_heartbeats (vt, enqueued_at, message)"
                " values (public.fleet_now(), public.fleet_now(), %s) returning msg_id",
                (None if body is None else Jsonb(body),),
            )
            for body in bodies
        ]

    def ask(self, by: str, role: str, *bodies: Any, due_in_s: float = 0) -> None:
        """Send messages as the door of the queue lets them in from somebody else: with who asks."""
        stamp = Jsonb({"asked_by": by, "asked_role": role})
        for body in bodies:
            self.conn.execute(
                "insert into pgmq.q_node_heartbeats (vt, enqueued_at, message, headers) values"
                " (public.fleet_now() + make_interval(secs => %s), public.fleet_now(), %s, %s)",
                (due_in_s, Jsonb(body), stamp),
            )

    def asked(self, by: str, role: str, *bodies: Any) -> None:
        """Send messages as somebody else, and answer them in one claim."""
        self.ask(by, role, *bodies)
        self.worker.run_once(1000)

    def tell(self, *bodies: Any) -> None:
        """Send messages, and answer them in one claim."""
        self.send(*bodies)
        self.worker.run_once(1000)

    def hear(self, node: int | str, ahead_s: float = 0, /, **given: Any) -> str:
        """One heartbeat of a node, taken; its id."""
        body = self.beat(node, ahead_s, **given)
        self.tell(body)
        return str(body["id"])

    def heard(self, node: int | str, ago_s: float, /, **given: Any) -> str:
        """One heartbeat that was sent and enqueued so long ago, taken now; its id."""
        body = self.beat(node, -ago_s, **given)
        (msg_id,) = self.send(body)
        self.conn.execute(
            "update pgmq.q_node_heartbeats set enqueued_at = enqueued_at - make_interval(secs => %s) where msg_id = %s",
            (ago_s, msg_id),
        )
        self.worker.run_once(1000)
        return str(body["id"])

    def sweep(self, **settings: Any) -> Any:
        """One sweep, as if they had come one after the other; what it wrote down about autoscaler nodes."""
        self.conn.execute(WATCHED)
        return self.sweep_again(**settings)

    def sweep_again(self, **settings: Any) -> Any:
        """One sweep, whenever the one before it was."""
        self.send({"action": "sweep"})
        self.with_settings(**settings).run_once(1000)
        return self.swept("node")

    def swept(self, machine: str) -> Any:
        with self.conn.cursor(row_factory=psycopg.rows.namedtuple_row) as cursor:
            return cursor.execute("select * from public.offline_sweeps where machine = %s", (machine,)).fetchone()

    def roll_up(self) -> None:
        self.tell({"action": "roll_up"})

    def other(self) -> Connection:
        """A connection of somebody else's; what it does ends with its block."""
        return psycopg.connect(self.dsn)

    def with_settings(self, **settings: Any) -> Worker:
        """A worker of its own mind, on the same connections."""
        changed = settings_for(self.dsn, **settings)
        return Worker(replace(self.worker.running, settings=changed, leases=Leases(changed.lease_s)))

    def status(self, node: int | str) -> str:
        if isinstance(node, int):
            return str(self.one("select status::text from autoscaler.nodes where id = %s", (node,)))
        return str(self.one("select status from clusters.cluster_nodes where node_id = %s", (node,)))

    def row(self, node: int | str) -> dict[str, Any]:
        table, key = ("autoscaler.nodes", "id") if isinstance(node, int) else ("clusters.cluster_nodes", "node_id")
        return dict(self.one(f"select to_jsonb(n) from {table} n where {key} = %s", (node,)))

    def history(self, node: int | str) -> list[tuple[str, str, str]]:
        """From, to and reason, oldest first, without the row's making."""
        return self.all(
            "select from_status, to_status, reason from public.status_history"
            " where machine = %s and row_id = %s and from_status <> '(new)' order by history_id",
            ("node" if isinstance(node, int) else "cluster_node", str(node)),
        )

    def kept(self, node: int) -> list[str]:
        """The ids of a node's heartbeats, in the order of their writing."""
        found = "select heartbeat_id::text from autoscaler.node_heartbeats where node_id = %s order by id"
        return self.all(found, (node,))

    def pool(self, oracle_pool_id: str) -> dict[str, Any]:
        found = "select to_jsonb(p) from autoscaler.pools p where oracle_pool_id = %s"
        return dict(self.one(found, (oracle_pool_id,)))

    def analytics(self, oracle_pool_id: str) -> list[int]:
        """Current instances as each heartbeat told them."""
        found = "select current_instances from autoscaler.pool_analytics where oracle_pool_id = %s order by id"
        return self.all(found, (oracle_pool_id,))

    def letters(self) -> list[str]:
        return self.all("select reason from public.dead_letters order by dead_letter_id")

    def queue(self) -> list[int]:
        return self.all("select msg_id from pgmq.q_node_heartbeats order by msg_id")


def pool(oracle_pool_id: str, current: int = 2, **given: Any) -> dict[str, Any]:
    figures = {"active_instances": 1, "avg_cpu_utilization": 40.5, "avg_memory_utilization": 50}
    return {"oracle_pool_id": oracle_pool_id, "current_instances": current, **figures, **given}


@contextmanager
def heart_in(dsn: str) -> Iterator[Heart]:
    """The heartbeat kind in a migrated database."""
    with (
        psycopg.connect(dsn, autocommit=True, options="-c lock_timeout=60s") as conn,
        worker_on(KIND, settings_for(dsn)) as worker,
    ):
        yield Heart(dsn, conn, worker)


# What every heartbeat changes in its node's row, an old one that comes late as well.
OF_ITS_CLOCK = ("last_heartbeat", "skews", "recent_ids", "updated_at")


def without(body: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}
