"""All of pgfleet on a server of its own, as `pgfleet up` starts it: workers of all kinds, the API, and the sandbox."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg

from pgfleet.console.local import embedded
from pgfleet.console.local.capacity import set_capacity
from pgfleet.console.local.children import Children, children, cluster_settings
from pgfleet.console.local.first_key import serving_dsn
from pgfleet.console.sandbox.box import Box
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.identity import accounts, keys
from pgfleet.schema.kinds import contracts
from pgfleet.schema.rows.named import named
from worlds.assignments import add_cluster, add_users
from worlds.database import Connection, temporary_folder
from worlds.fleet import until
from worlds.receiver import Receiver, receiving

SQL = named(__package__)
NODES = ["h100:4x8", "t4:2x4", "cpu-x86:1x0"]
PEOPLE = [f"user{number}" for number in range(8)]
OPERATOR = "eve"
MEMBERS = [f"auth0|p{number}" for number in range(12)]
CLUSTERS = ("one", "two")
# As an operator would set them for whom nothing lasts long. All else is as it comes.
SETTINGS = {
    "PGFLEET_LOG_LEVEL": "warning",
    "PGFLEET_EXPIRY_GRACE_S": "2",
    "PGFLEET_WATCH_S": "15",
    "PGFLEET_VOLUME_POLL_S": "1",
    "PGFLEET_SNAPSHOT_POLL_S": "2",
    "PGFLEET_DISK_KEPT_S": "60",
    "PGFLEET_SNAPSHOT_KEPT_S": "60",
    "PGFLEET_EVENTS_MAY_REACH": "127.0.0.0/8",
    "PGFLEET_REQUESTS_PER_S": "100000",
    "PGFLEET_REQUESTS_BURST": "1000000",
}
# Tables of days that are over, with a row or more in each, so that there is something to drop.
OLD_DAYS = 15
OLD_DAY = """
select public.make_day_partition('autoscaler.node_heartbeats', 'timestamp', d.day),
  public.make_day_partition('public.heartbeat_ids', 'at', d.day)
from (select (public.fleet_now() at time zone 'UTC')::date - %s as day) d
"""
# The table itself says that a day is the least; here more has to go while somebody looks.
NO_LEAST = """
create or replace function public.refuse_value(what text, value text, allowed text) returns boolean
language sql as $$ select true $$
"""
# Who asks for what is not there is refused; the API says where it is; a check of ours is gone; nodes die; and a
# page comes late where the machine is busy.
EXPECTED = (
    *('"message.rejected"', "/openapi.json)", '"schema.altered"'),
    *('"sweep.marked_offline"', '"reservation.expires_soon"', '"web.not_rendered"'),
)
# Workers that have begun, by their queues.
CLAIMING = """
select count(distinct query) from pg_stat_activity
where datname = current_database() and query like 'select * from public."claim%%'
"""
OFTEN = "update public.periodic set every = least(every, interval '30 seconds')"


@dataclass
class Fleet:
    """What runs, and who may ask it."""

    dsn: str
    conn: Connection
    box: Box
    url: str
    started: Children
    receivers: list[Receiver]
    api_keys: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def connected(self) -> Connection:
        return psycopg.connect(self.dsn, autocommit=True, application_name="soak")

    def processes(self) -> Iterator[tuple[str, psutil.Process]]:
        """Each that works, by name: of a worker dramatiq's first process, and the one that it has forked."""
        for child in self.started.workers:
            first = psutil.Process(child.process.pid)
            yield child.name, first
            for number, forked in enumerate(first.children(recursive=True), 1):
                yield f"{child.name}/{number}", forked

    def server(self) -> list[psutil.Process]:
        """PostgreSQL's."""
        (pid,) = self.conn.execute("select pg_backend_pid()").fetchone() or (0,)
        parent = psutil.Process(pid).parent()
        return [] if parent is None else [parent, *parent.children()]


@contextmanager
def fleet(receivers: int = 2) -> Iterator[Fleet]:
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        dsn = embedded.start(folder / "data")
        migrate(dsn)
        conn = stack.enter_context(psycopg.connect(dsn, autocommit=True, application_name="soak"))
        started = stack.enter_context(children(folder, {**os.environ, **SETTINGS, "DATABASE_URL": dsn}))
        box = started.sandbox(NODES, aws_snapshot=1)
        listening = [stack.enter_context(receiving()) for _ in range(receivers)]
        made = Fleet(dsn, conn, box, "", started, listening)
        _furnish(made)
        started.all_workers(cluster_settings(box), reservation=2)
        made.url = started.api({"DATABASE_URL": serving_dsn(conn, dsn)})
        started.wait_for(made.url)
        # Who starts tells what is not as it has to be.
        until(lambda: _claiming(conn) == len(contracts()), what="each worker", work=partial(Children.check, started))
        conn.execute(NO_LEAST)
        yield made
        started.check()


def _furnish(made: Fleet) -> None:
    conn, box = made.conn, made.box
    set_capacity(conn, NODES)
    add_users(conn, *MEMBERS)
    for name in CLUSTERS:
        add_cluster(conn, box, name, len(MEMBERS))
    for user in (*PEOPLE, OPERATOR):
        accounts.add(conn, f"{user}@example.org", username=user, role="DEVOPS" if user == OPERATOR else "USER")
        made.api_keys[user] = keys.make(conn, user, hours=8760).key
    for ago in range(1, OLD_DAYS + 1):
        conn.execute(OLD_DAY, (ago,))
    conn.execute(OFTEN)


def _claiming(conn: Connection) -> int:
    (number,) = conn.execute(CLAIMING).fetchone() or (0,)
    return int(number)


def said(made: Fleet) -> Iterator[tuple[str, list[str]]]:
    """The warnings and errors of each process, but for those that belong to this load."""
    for child in made.started.workers:
        lines = Path(child.log).read_text("utf-8", errors="replace").splitlines()
        yield child.name, [line for line in lines if not any(each in line for each in EXPECTED)]
