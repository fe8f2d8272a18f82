"""The fleet of a test: its database, its simulated cluster, its clock, and waiting for what becomes of things."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from psycopg import sql

from pgfleet.console.local.capacity import set_capacity
from pgfleet.console.local.children import cluster_settings
from pgfleet.console.sandbox import server as sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.console.testing.server import database
from pgfleet.console.testing.working import working
from pgfleet.schema.database.sessions import connect
from pgfleet.schema.feed import reading
from pgfleet.schema.feed.cursor import Cursor
from pgfleet.schema.feed.event import Event
from pgfleet.schema.feed.filters import Filters
from pgfleet.schema.kinds import contracts
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reservation import FINAL, Status
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import read_settings
from pgfleet.workers.runtime.running import Running

SQL = named(__package__)
T = TypeVar("T")
NODES = ("h100:2x8", "a100:1x8", "cpu-x86:1x0")
PATIENCE_S = 60.0
LOOK_S = 0.02
# A message that is due so soon is part of what is going on: workers look again after less.
SOON_S = 1.0
# One that a worker has put back until later is in nobody's hands.
BUSY = sql.SQL("""
select exists (
  select from {} where vt <= public.fleet_now() + %s * interval '1 second'
    or read_ct > 0 and headers #>> '{{pgfleet,read}}' is distinct from read_ct::text)
""")
CLOCK = sql.SQL(
    "create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe as {}"
)
# Pods of the simulated cluster are ready at once, and gone at once.
QUICK_CLUSTER = {"ready_delay_s": 0.02, "termination_delay_s": 0.02, "scheduling_retry_s": 0.05}
# Workers look again soon, and deliver events to this machine.
QUICK: Mapping[str, Any] = {
    "pod_poll_s": 0.05,
    "teardown_poll_s": 0.05,
    "volume_poll_s": 0.05,
    "snapshot_poll_s": 0.05,
    "backoff_s": 0.05,
    "poll_s": 0.1,
    "drain_s": 5,
    "effect_threads": 4,
    "events_may_reach": "127.0.0.0/8,::1,localhost",
}


class TookTooLong(AssertionError):
    """What a test waited for has not come."""


class CameElsewhere(AssertionError):
    """A reservation is where it never comes to what a test waits for."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet that works while its test runs.

    Attributes:
        dsn: its database's connection string; `DATABASE_URL` of the test's process is the same.
        conn: a connection to it, autocommit.
        box: the simulated cluster: `fault`, `outage`, `behave` and more make it go wrong.
        start: the position in the feed of events where the test began.
    """

    dsn: str
    conn: Connection
    box: Box
    start: Cursor
    running: Sequence[Running]

    def until(self, condition: Callable[[], T], within_s: float = PATIENCE_S) -> T:
        """Wait for a condition; its value, the first one that is true.

        Raises:
            TookTooLong: there was none for so long.
        """
        deadline = time.monotonic() + within_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TookTooLong(f"the condition did not come true within {within_s:g} s")
            time.sleep(LOOK_S)
        return value

    def reaches(self, reservation_id: str, status: str, within_s: float = PATIENCE_S) -> Row:
        """Wait until a reservation is `active`, say; its row.

        Raises:
            CameElsewhere: it has ended in another state, or nobody takes the request; the message says why.
            TookTooLong: it is on its way still.
        """
        wanted = Status(status)

        def there() -> Row | None:
            row = self.reservation(reservation_id)
            if row is not None and row["status"] == wanted:
                return row
            if row is not None and row["status"] in FINAL:
                raise CameElsewhere(f"{reservation_id} is {row['status']}: {row['status_reason']}")
            for letter in ask(self.conn, SQL["rejected"], row_id=reservation_id):
                raise CameElsewhere(f"{reservation_id}: a message was given up: {letter['reason']}")
            return None

        found = self.until(there, within_s)
        assert found is not None  # noqa: S101 - for the type checker
        return found

    def reservation(self, reservation_id: str) -> Row | None:
        """Its row; None where there is none yet."""
        return next(iter(ask(self.conn, SQL["reservation"], reservation_id=reservation_id)), None)

    def settled(self, within_s: float = PATIENCE_S) -> None:
        """Wait until there is nothing to do: no message is due, in a worker's hands, or due within a second.

        Raises:
            TookTooLong: there is always something.
        """
        self.until(lambda: not any(self._busy(row["queue_name"]) for row in ask(self.conn, SQL["queues"])), within_s)

    def _busy(self, queue: str) -> bool:
        row = self.conn.execute(BUSY.format(sql.Identifier("pgmq", f"q_{queue}")), (SOON_S,)).fetchone()
        return bool(row and row[0])

    def move_clock(self, seconds: float) -> None:
        """Let it be so much later for the fleet: what is due by then is due now. The cluster's own clock goes on."""
        ahead = ask(self.conn, SQL["ahead"])[0]["seconds"] + seconds
        body = f"select statement_timestamp() + interval '{ahead:f} seconds'"
        self.conn.execute(CLOCK.format(sql.Literal(body)))
        for each in self.running:
            each.arrived.set()

    def events(self, *machines: str) -> list[Event]:
        """All that was told since the test began, in order: of these machines, or of all."""
        filters = Filters(machines=frozenset(machines) or None)
        found, cursor = list[Event](), self.start
        while (page := reading.read(self.conn, cursor, filters)).cursor != cursor:
            found, cursor = [*found, *page.events], page.cursor
        return found


@contextmanager
def running(
    template: str,
    nodes: Sequence[str] = NODES,
    *,
    kinds: Sequence[str] | None = None,
    aws: bool = False,
    **settings: Any,
) -> Iterator[Fleet]:
    """A fleet in a copy of the database `template`. Unless told which `kinds`, it has all; disks need `aws`."""
    served = [kind for kind in contracts() if kind != "disk" or aws] if kinds is None else kinds
    with database(template) as dsn, sandbox.running(nodes, aws=aws, **QUICK_CLUSTER) as box:
        environment = {"DATABASE_URL": dsn, **cluster_settings(box)}
        with _environment(environment), connect(dsn, autocommit=True) as conn:
            set_capacity(conn, nodes)
            start = reading.end(conn)
            with working(served, read_settings(**{**QUICK, **settings})) as workers:
                yield Fleet(dsn, conn, box, start, workers)


@contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    """These variables, for what the test itself calls; the ones of before afterwards."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
