"""What a simulated fleet has to do with the database: its nodes are registered once, and its heartbeats sent.

While the server is away, a node keeps each heartbeat for a minute and sends it when the server is back, with the time
and id that it has; what is older is given up. A batch of which nobody knows whether it was committed is sent again.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg

from pgfleet.producers.heartbeat import heartbeats
from pgfleet.schema.database.dsn import Unreachable
from pgfleet.schema.database.holders import WITHOUT_WRITERS, take_turn
from pgfleet.schema.database.sessions import connect
from pgfleet.schema.heartbeat import AutoscalerHeartbeat
from pgfleet.schema.queue.kernel import Connection

BATCH = 1000
KEPT_S = 60.0
BUSY = "Another simulation registers its nodes, or somebody writes configurations of nodes. Try again."
YAML = "heartbeat_interval: 60\npools: all\n"

NEW_NODES = """
insert into autoscaler.nodes (name, region, description)
select w.name, 'sim', 'a node of pgfleet simulate' from unnest(%s::text[]) with ordinality w (name, place)
where not exists (select from autoscaler.nodes n where n.name = w.name and n.deleted_at is null)
order by w.place
"""
NEW_CONFIGURATIONS = """
insert into autoscaler.node_configurations (node_id, yaml_config)
select n.id, %s from autoscaler.nodes n
where n.name = any(%s) and n.deleted_at is null
  and not exists (select from autoscaler.node_configurations c where c.node_id = n.id and c.is_active)
"""
REGISTERED = """
select distinct on (n.name) n.id, c.config_hash
from autoscaler.nodes n join autoscaler.node_configurations c on c.node_id = n.id and c.is_active
where n.name = any(%s) and n.deleted_at is null
order by n.name, n.id, c.id desc
"""
FORGET = """
update autoscaler.nodes set deleted_at = public.fleet_now()
where region = 'sim' and description = 'a node of pgfleet simulate' and deleted_at is null
"""


@dataclass(frozen=True, slots=True)
class Registered:
    """A node as the database has it."""

    id: int
    config_hash: str


def register(conn: Connection, names: Sequence[str]) -> list[Registered]:
    """Nodes of these sorted names, each with a configuration: made if they are not there."""
    asked = list(names)
    with conn.transaction():
        # Only who may write configurations can be in the way.
        take_turn(conn, "autoscaler.node_configurations", WITHOUT_WRITERS, BUSY)
        conn.execute(NEW_NODES, (asked,))
        conn.execute(NEW_CONFIGURATIONS, (YAML, asked))
        return [Registered(*row) for row in conn.execute(REGISTERED, (asked,))]


def forget(conn: Connection) -> int:
    """Delete the nodes that were registered here; how many there were."""
    return conn.execute(FORGET).rowcount


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message on its way; times are seconds since the start. `repeat`: its id was sent before."""

    at: float
    node: int
    sent: float
    repeat: bool
    message: AutoscalerHeartbeat


@dataclass
class Tally:
    """What has been committed so far; of each node, the time of its newest heartbeat."""

    sent: int = 0
    duplicated: int = 0
    given_up: int = 0
    reconnected: int = 0
    last_s: dict[int, float] = field(default_factory=dict)

    @property
    def unique(self) -> int:
        return self.sent - self.duplicated

    def note(self, parcels: Sequence[Parcel]) -> None:
        self.sent += len(parcels)
        self.duplicated += sum(parcel.repeat for parcel in parcels)
        for parcel in parcels:
            self.last_s[parcel.node] = max(parcel.sent, self.last_s.get(parcel.node, 0))


class Sender:
    """Sends through one connection, and makes a new one after the server was away."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.conn: Connection | None = connect(dsn, autocommit=True)
        self.waiting: deque[Parcel] = deque()
        self.tally = Tally()

    def flush(self, now: float) -> None:
        """Send what waits, as far as the server takes it; give up what is too old."""
        try:
            self._reconnect()
            while self.waiting and self.conn:
                batch = [self.waiting[place] for place in range(min(BATCH, len(self.waiting)))]
                heartbeats(self.conn, [parcel.message for parcel in batch])
                self.tally.note(batch)
                for _ in batch:
                    self.waiting.popleft()
        except (Unreachable, psycopg.OperationalError):
            self._hang_up()
            self._give_up(now - KEPT_S)

    def close(self) -> None:
        """Close the connection; heartbeats that still wait are lost."""
        self._hang_up()
        self._give_up(float("inf"))

    def _reconnect(self) -> None:
        if self.conn is None:
            self.conn = connect(self.dsn, autocommit=True)
            self.tally.reconnected += 1

    def _hang_up(self) -> None:
        if self.conn is not None:
            self.conn.close()
            self.conn = None

    def _give_up(self, older_than: float) -> None:
        while self.waiting and self.waiting[0].at < older_than:
            self.waiting.popleft()
            self.tally.given_up += 1
