"""What assignment tests share: users, clusters on the sandbox, requests, and what has to be sound at every moment."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from pgfleet.console import sandbox
from pgfleet.console.sandbox.box import Box
from pgfleet.workers.assignment.machine import KIND
from pgfleet.workers.runtime.leases import Leases
from worlds.database import fresh_database
from worlds.fleet import (
    Connection,
    Worker,
    broken_histories,
    history_of,
    move_clock,
    new_id,
    send,
    settings_for,
    worker_on,
)

QUEUE = "cluster_assignments"
KEY = "a-key-of-the-test-ZZZ"


def add_users(conn: Connection, *ids: str, owner: str | None = None, **more: Any) -> None:
    """Users with an e-mail made of their id's last part."""
    for user_id in ids:
        local = user_id.rpartition("|")[2]
        values = {"email": f"{local}@example.com", "name": local.title(), "account_owner_id": owner, **more}
        names = ", ".join(values)
        marks = ", ".join(f"%({name})s" for name in values)
        query = f"insert into hopsworks.users (id, {names}) values (%(id)s, {marks})"
        conn.execute(query.encode(), {"id": user_id, **values})


def add_cluster(conn: Connection, box: Box | None, name: str, seats: int | None = 100, **more: Any) -> str:
    """A cluster, on the sandbox where there is one; its id."""
    url = box.hopsworks(name, api_key=KEY) if box else f"http://127.0.0.1:9/{name}"
    values = {"name": name, "api_url": url, "api_key": KEY, "max_users": seats, **more}
    names = ", ".join(values)
    marks = ", ".join(f"%({key})s" for key in values)
    query = f"insert into hopsworks.hopsworks_clusters ({names}) values ({marks}) returning id::text"
    row = conn.execute(query.encode(), values).fetchone()
    assert row is not None
    return str(row[0])


def ask(conn: Connection, action: str, user_id: str, **fields: Any) -> int:
    return send(conn, QUEUE, {"action": action, "user_id": user_id, **fields})


def assignment(conn: Connection, user_id: str) -> dict[str, Any]:
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "select * from hopsworks.user_hopsworks_assignments where user_id = %s", (user_id,)
        ).fetchone()
    assert row is not None, f"no assignment of {user_id}"
    return row


def status_of(conn: Connection, user_id: str) -> str | None:
    query = "select status from hopsworks.user_hopsworks_assignments where user_id = %s"
    row = conn.execute(query, (user_id,)).fetchone()
    return None if row is None else row[0]


def reach(conn: Connection, worker: Worker, user_id: str, status: str) -> dict[str, Any]:
    worker.run_until(lambda: status_of(conn, user_id) == status)
    return assignment(conn, user_id)


def cluster(conn: Connection, cluster_id: str) -> dict[str, Any]:
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("select * from hopsworks.hopsworks_clusters where id = %s", (cluster_id,)).fetchone()
    assert row is not None
    return row


def outage(conn: Connection, cluster_id: str) -> dict[str, Any] | None:
    """The open outage of a cluster; None while it answers."""
    with conn.cursor(row_factory=dict_row) as cursor:
        query = "select * from hopsworks.unanswered_clusters where cluster_id = %s"
        return cursor.execute(query, (cluster_id,)).fetchone()


def accounts(box: Box, name: str) -> dict[str, dict[str, Any]]:
    """What the server has, by e-mail."""
    return {user["email"]: user for user in box.hopsworks_state(name)["users"]}


def letters(conn: Connection) -> list[str]:
    return [row[0] for row in conn.execute("select reason from public.dead_letters order by dead_letter_id")]


WRONG_SEATS = """
select c.name, c.current_users, c.max_users, c.status, count(a.id)
from hopsworks.hopsworks_clusters c
left join hopsworks.user_hopsworks_assignments a on a.hopsworks_cluster_id = c.id
group by c.id
having c.current_users <> count(a.id) or c.current_users <> count(a.id) filter (where a.holds_seat)
  or c.current_users > c.max_users
  or c.status = 'active' and c.current_users >= c.max_users or c.status = 'full' and c.current_users < c.max_users
"""
WRONG_ROWS = """
select user_id, status, hopsworks_cluster_id, hopsworks_username
from hopsworks.user_hopsworks_assignments
where status in ('creating_user', 'active') and not holds_seat
  or status in ('released', 'failed') and holds_seat
  or holds_seat <> (hopsworks_cluster_id is not null)
  or status = 'active' and hopsworks_user_id is null
"""
BROKEN_HISTORIES = broken_histories("assignment", "hopsworks.user_hopsworks_assignments", "id").encode()


def assert_sound(conn: Connection) -> None:
    """Seats are rows that hold one, never more than there are; histories are gap-free."""
    wrong: Sequence[Any] = conn.execute(WRONG_SEATS).fetchall()
    assert wrong == []
    assert conn.execute(WRONG_ROWS).fetchall() == []
    assert conn.execute(BROKEN_HISTORIES).fetchall() == []


NOBODY_LOOKS_AFTER = """
select a.user_id, a.status, a.ticket
from hopsworks.user_hopsworks_assignments a
where a.status in ('pending', 'creating_user') and not exists (
  select from pgmq.q_cluster_assignments q
  where q.message->>'action' = 'advance' and q.message->>'user_id' = a.user_id
    and q.message->>'ticket' = a.ticket::text)
"""
ENABLED, DEACTIVATED = 2, 3
REMOTE = "REMOTE_ACCOUNT_TYPE"


@dataclass(frozen=True)
class Place:
    """A Hopsworks cluster: its row, and its server on the sandbox."""

    conn: Connection
    box: Box
    id: str
    name: str

    @property
    def row(self) -> dict[str, Any]:
        return cluster(self.conn, self.id)

    @property
    def seats_taken(self) -> int:
        return int(self.row["current_users"])

    @property
    def status(self) -> str:
        return str(self.row["status"])

    @property
    def outage(self) -> dict[str, Any] | None:
        return outage(self.conn, self.id)

    @property
    def outages(self) -> int:
        """How many it has had."""
        query = "select count(*) from public.outages where dependency = %s"
        row = self.conn.execute(query, (f"hopsworks:{self.id}",)).fetchone()
        return 0 if row is None else int(row[0])

    @property
    def accounts(self) -> dict[str, dict[str, Any]]:
        return accounts(self.box, self.name)

    @property
    def server(self) -> dict[str, Any]:
        """What its server saw: `requests`, `posts`, `created`, ..."""
        return self.box.hopsworks_state(self.name)

    @property
    def failures(self) -> list[tuple[str, str | None, str, bool]]:
        """Check, user, details and whether it is right again."""
        return self.conn.execute(
            "select check_name, user_id, details, resolved_at is not null from hopsworks.health_check_failures"
            " where hopsworks_cluster_id = %s order by first_failed_at, id",
            (self.id,),
        ).fetchall()

    def account(self, user_id: str) -> dict[str, Any]:
        return self.accounts[email_of(user_id)]

    def change(self, **values: Any) -> None:
        """By hand, as an operator."""
        names = ", ".join(f"{name} = %({name})s" for name in values)
        query = f"update hopsworks.hopsworks_clusters set {names} where id = %(id)s"
        self.conn.execute(query.encode(), {**values, "id": self.id})

    def fault(self, **wanted: Any) -> None:
        """The next requests to this cluster's server, as `Box.fault` says."""
        self.box.fault(f"/hopsworks/{self.name}/", **wanted)

    def look_up_fault(self, **wanted: Any) -> None:
        self.fault(method="GET", **wanted)


def email_of(user_id: str) -> str:
    return f"{user_id.rpartition('|')[2]}@example.com"


@dataclass(frozen=True)
class World:
    """The assignment kind in a database of its own, and clusters on the module's sandbox."""

    dsn: str
    conn: Connection
    worker: Worker
    box: Box

    def place(self, seats: int | None = 100, **more: Any) -> Place:
        """A cluster of a name that no other test has."""
        name = more.pop("name", None) or f"c{new_id()[:8]}"
        row_id = add_cluster(self.conn, self.box, name, **{"seats": seats, **more})
        return Place(self.conn, self.box, row_id, name)

    def users(self, *ids: str, owner: str | None = None, **more: Any) -> None:
        add_users(self.conn, *ids, owner=owner, **more)

    def ask(self, action: str, user_id: str, **fields: Any) -> int:
        return ask(self.conn, action, user_id, **{**({"reason": "gone"} if action == "release" else {}), **fields})

    def tell(self, action: str, user_id: str, **fields: Any) -> None:
        """Send a request, and do all that follows from it now."""
        self.ask(action, user_id, **fields)
        self.run()

    def post(self, body: Any) -> None:
        """Send any body, and do all that follows from it now."""
        send(self.conn, QUEUE, body)
        self.run()

    def post_as_of(self, seconds_ago: float, body: Any) -> None:
        """A message that was sent a while ago and arrives only now."""
        self.conn.execute(
            "insert into pgmq.q_cluster_assignments (vt, enqueued_at, message)"
            " values (now(), now() - make_interval(secs => %s), %s)",
            (seconds_ago, Jsonb(body)),
        )
        self.run()

    def sweep(self, action: str = "sweep") -> None:
        self.post({"action": action})

    def run(self) -> None:
        self.worker.run()

    def later(self, seconds: float) -> None:
        """All that is due after so long, a few turns each in its own time."""
        move_clock(self.conn, seconds)
        self.run()

    def active(self, *ids: str, **fields: Any) -> None:
        """Assign users, which are made where they are not known."""
        for user_id in ids:
            if self.one("select count(*) from hopsworks.users where id = %s", user_id) == 0:
                self.users(user_id)
            self.ask("assign", user_id, **fields)
        self.run()
        assert {self.status(user_id) for user_id in ids} == {"active"}

    def row(self, user_id: str) -> dict[str, Any]:
        return assignment(self.conn, user_id)

    def status(self, user_id: str) -> str | None:
        return status_of(self.conn, user_id)

    def place_of(self, user_id: str) -> str | None:
        found = self.row(user_id)["hopsworks_cluster_id"]
        return None if found is None else str(found)

    def moves(self, user_id: str) -> list[str]:
        """The states in their order."""
        return [to for _, to in history_of(self.conn, str(self.row(user_id)["id"]))]

    @property
    def letters(self) -> list[str]:
        return letters(self.conn)

    def one(self, query: str, *values: Any) -> Any:
        row = self.conn.execute(query.encode(), values).fetchone()
        assert row is not None
        return row[0]

    def queued(self, action: str) -> int:
        return int(self.one("select count(*) from pgmq.q_cluster_assignments where message->>'action' = %s", action))

    def forget_messages(self, action: str) -> None:
        """Somebody deletes them from the queue."""
        self.conn.execute("delete from pgmq.q_cluster_assignments where message->>'action' = %s", (action,))

    def with_settings(self, **settings: Any) -> "World":
        """Another worker, of its own mind, in the same database."""
        bench = self.worker.running
        changed = settings_for(self.dsn, self.box, **settings)
        tools = replace(bench.tools, settings=changed)
        worker = Worker(replace(bench, settings=changed, tools=tools, leases=Leases(changed.lease_s)))
        return replace(self, worker=worker)

    @contextmanager
    def impatient(self) -> "Iterator[World]":
        """Another worker, which waits for no answer for long."""
        with worker_on(KIND, settings_for(self.dsn, self.box, hopsworks_timeout_s=0.3)) as worker:
            yield replace(self, worker=worker)

    def assert_sound(self) -> None:
        assert_sound(self.conn)
        assert self.conn.execute(NOBODY_LOOKS_AFTER).fetchall() == []


CLEAN = """
set session_replication_role = replica;
create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe
as 'select statement_timestamp()';
do $$
declare
  emptied text;
begin
  for emptied in select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'hopsworks' loop
    execute 'delete from ' || emptied;
  end loop;
end
$$;
delete from pgmq.q_cluster_assignments;
delete from public.dead_letters;
delete from public.status_history;
delete from public.outages;
set session_replication_role = origin;
"""


@contextmanager
def world_in(server_dsn: str, template: str, **settings: Any) -> Iterator[World]:
    """A sandbox, a database and a worker for the tests of a module."""
    with (
        sandbox.running() as box,
        fresh_database(server_dsn, template) as dsn,
        psycopg.connect(dsn, autocommit=True) as conn,
        worker_on(KIND, settings_for(dsn, box, **settings)) as worker,
    ):
        yield World(dsn, conn, worker, box)


def for_a_test(world: World) -> Iterator[World]:
    """The module's world, emptied; what has to hold at every moment is looked at in the end."""
    world.conn.execute(CLEAN)
    yield world
    world.box.clear_faults()
    world.assert_sound()
