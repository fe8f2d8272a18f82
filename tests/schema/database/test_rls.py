"""Who sees and writes which rows once row level security is on; and that it can be switched off again."""

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pgfleet.schema.kinds import contracts
from worlds.database import Connection, fresh_database

SUFFIX = uuid.uuid4().hex[:8]
# Of hopsworks, an owner with a member, and a stranger; the owner reserves GPUs under the same name.
ADA, BOB, EVE = (f"auth0|{name}-{SUFFIX}" for name in ("ada", "bob", "eve"))
PEOPLE = f"""
  insert into hopsworks.users (id, email, account_owner_id, stripe_customer_id) values
    ('{ADA}', 'ada@x', null, 'cus_1'), ('{BOB}', 'bob@x', '{ADA}', null), ('{EVE}', 'eve@x', null, 'cus_2');
  insert into hopsworks.hopsworks_clusters (name, api_url, api_key) values
    ('hers', 'https://hers', 'secret'), ('another', 'https://another', 'secret');
  insert into hopsworks.user_hopsworks_assignments (user_id, hopsworks_cluster_id)
    select u.id, c.id from hopsworks.users u join hopsworks.hopsworks_clusters c
      on (c.name = 'hers') = (u.id <> '{EVE}');
  insert into hopsworks.usage_daily (user_id, date) select id, current_date from hopsworks.users;
  insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at)
    select 'r-' || id, id, 'pending', 1, now() from hopsworks.users;
  insert into public.disks (disk_name, user_id) select 'home', id from hopsworks.users;
  insert into autoscaler.users (email, full_name, hashed_password) values ('op@x', 'Op', 'secret');
  insert into autoscaler.nodes (name, region) values ('n', 'eu');
  select clusters.create_cluster('ours');
"""
OWN_TABLES = {
    "hopsworks.users": "id",
    "hopsworks.user_hopsworks_assignments": "user_id",
    "hopsworks.usage_daily": "user_id",
    "public.reservations": "user_id",
    "public.disks": "user_id",
}


@dataclass(frozen=True)
class World:
    """A database with row level security, its owner's connection, and a login for each role."""

    dsn: str
    owner: Connection
    password: str

    def login(self, name: str) -> Connection:
        return psycopg.connect(self.dsn, user=name, password=self.password, autocommit=True)


def group_login(group: str) -> str:
    return f"{group}_{SUFFIX}"


@contextmanager
def logins(server_dsn: str, password: str) -> Iterator[None]:
    """Real ones, gone afterwards: roles belong to the whole server."""
    members = {group_login(group): group for group in ("pgfleet_worker", "pgfleet_monitor", "pgfleet_api")}
    members |= dict.fromkeys((ADA, BOB, EVE), "pgfleet_user")
    with psycopg.connect(server_dsn, autocommit=True) as admin:
        try:
            for name, group in members.items():
                names = {"name": sql.Identifier(name), "group": sql.Identifier(group)}
                admin.execute(sql.SQL("create role {name} login password {p}").format(p=password, **names))
                admin.execute(sql.SQL("grant {group} to {name}").format(**names))
            for kind in contracts():
                worker = sql.Identifier(group_login("pgfleet_worker"))
                admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(f"pgfleet_worker_{kind}"), worker))
            yield
        finally:
            for name in members:
                admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def world(server_dsn: str, template: str) -> Iterator[World]:
    password = secrets.token_urlsafe(16)
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(PEOPLE.encode())
        for _ in range(2):  # Twice is as good as once.
            owner.execute("select public.switch_row_level_security(true)")
        with logins(server_dsn, password):
            yield World(dsn, owner, password)


@pytest.fixture
def worker(world: World) -> Iterator[Connection]:
    with world.login(group_login("pgfleet_worker")) as conn, conn.transaction(force_rollback=True):
        yield conn


@pytest.fixture
def monitor(world: World) -> Iterator[Connection]:
    with world.login(group_login("pgfleet_monitor")) as conn, conn.transaction(force_rollback=True):
        yield conn


@pytest.fixture
def api(world: World) -> Iterator[Connection]:
    with world.login(group_login("pgfleet_api")) as conn, conn.transaction(force_rollback=True):
        yield conn


@pytest.fixture
def ada(world: World) -> Iterator[Connection]:
    """A user, whose login has the user's name."""
    with world.login(ADA) as conn, conn.transaction(force_rollback=True):
        yield conn


def run(conn: Connection, statement: str) -> list[tuple[Any, ...]]:
    cursor = conn.execute(statement.encode())
    return cursor.fetchall() if cursor.description else []


def is_refused(conn: Connection, statement: str) -> bool:
    try:
        with conn.transaction():
            run(conn, statement)
    except psycopg.Error as error:
        # The door's own (105) where the right is there, and what is sent is not for that sender.
        return error.sqlstate in ("42501", "PF011")
    return False


def whose(conn: Connection, table: str) -> set[str]:
    return {user for (user,) in run(conn, f"select {OWN_TABLES[table]} from {table}")}


def test_a_worker_moves_rows_and_their_history_is_written(worker: Connection) -> None:
    worker.execute("set local pgfleet.actor = 'worker-7'")
    run(worker, f"update public.reservations set status = 'queued', status_reason = 'full' where user_id = '{ADA}'")
    run(
        worker,
        "insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at)"
        " values ('r9', 'ada', 'pending', 1, now())",
    )
    run(worker, "update autoscaler.nodes set status = 'ACTIVE'")
    run(worker, "insert into autoscaler.node_heartbeats (node_id, status) select id, 'ok' from autoscaler.nodes")
    run(worker, "update clusters.clusters set status = 'active'")
    run(worker, "insert into public.disk_snapshots (disk_id) select disk_id from public.disks")
    run(worker, "insert into public.dead_letters (queue, msg_id, reason, enqueued_at) values ('q', 1, 'x', now())")

    moved = run(worker, "select from_status, to_status from public.status_history where actor = 'worker-7'")

    assert {("pending", "queued"), ("(new)", "pending"), ("INACTIVE", "ACTIVE"), ("initializing", "active")} <= set(
        moved
    )


def test_what_a_member_has_sent_is_not_its_teams_to_read(world: World) -> None:
    world.owner.execute(
        """insert into public.dead_letters (queue, msg_id, reason, enqueued_at, message)
           select 'q', 1, 'x', now(), jsonb_build_object('user_id', id, 'env_vars', '{"TOKEN": "secret"}'::jsonb)
           from hopsworks.users"""
    )

    for name in (ADA, BOB):
        with world.login(name) as user:
            sent = user.execute("select message ->> 'user_id' from public.dead_letters").fetchall()
            assert sent == [(name,)]
            told = user.execute("select to_status from public.status_history where machine = 'dead_letter'").fetchall()
            assert told == [("failed",)]


def test_a_worker_claims_and_deletes_messages(worker: Connection) -> None:
    run(worker, "select pgmq.send('gpu_reservations', '{}'::jsonb)")

    assert len(run(worker, "select msg_id from pgmq.read('gpu_reservations', 30, 10)")) == 1
    assert run(worker, "delete from pgmq.q_gpu_reservations returning 1") == [(1,)]


def test_a_workers_own_hand_is_audited_too(world: World) -> None:
    with world.login(group_login("pgfleet_worker")) as hand:
        run(hand, "insert into autoscaler.nodes (name, region) values ('by hand', 'eu')")

    found = run(world.owner, "select user_email from autoscaler.audit_logs where resource_name = 'by hand'")
    assert found == [(group_login("pgfleet_worker"),)]


def test_a_worker_keeps_the_house(worker: Connection) -> None:
    assert run(worker, "select public.keep_house() is null") == [(False,)]


@pytest.mark.parametrize(
    "statement",
    [
        "select * from public.api_keys",
        "select hashed_password from autoscaler.users",
        "delete from public.status_history",
        "update public.status_history set reason = 'nothing to see'",
        "update clusters.cluster_events set message = ''",
        "update autoscaler.audit_logs set user_email = ''",
        "alter table public.reservations add column x integer",
        "alter table public.reservations disable row level security",
        "insert into public.moves values ('reservation', 'expired', 'active', 'why not')",
        "update public.retention set keep = '2 days'",
        "update hopsworks.billing_rates set price = 0",
        "delete from hopsworks.user_hopsworks_assignments",
        "delete from public.reservations",
        "select public.switch_row_level_security(false)",
    ],
)
def test_a_worker_may_not(worker: Connection, statement: str) -> None:
    assert is_refused(worker, statement)


def test_a_monitor_sees_every_row(monitor: Connection) -> None:
    everybody = {ADA, BOB, EVE}

    assert [whose(monitor, table) for table in OWN_TABLES] == [everybody] * len(OWN_TABLES)
    assert run(monitor, "select id, name, status from autoscaler.nodes")


def test_a_monitor_reads_every_column_but_secrets(world: World, monitor: Connection) -> None:
    columns = run(
        world.owner,
        "select format('%I.%I', schema_name, table_name), attname, public.is_secret(table_name, attname)"
        " from public.guarded_tables"
        " join pg_attribute on attrelid = format('%I.%I', schema_name, table_name)::regclass"
        " where attnum > 0 and not attisdropped",
    )

    wrong = [
        (table, column)
        for table, column, secret in columns
        if is_refused(monitor, f'select "{column}" from {table} limit 0') != secret
    ]

    assert wrong == []
    assert {("hopsworks.hopsworks_clusters", "api_key"), ("autoscaler.users", "hashed_password")} <= {
        (table, column) for table, column, secret in columns if secret
    }


def test_a_monitor_asks_for_the_health_of_clusters(monitor: Connection) -> None:
    ((summary,),) = run(monitor, "select clusters.get_cluster_health_summary()")
    cluster = summary["clusters"][0]["cluster_id"]

    assert run(monitor, f"select clusters.get_cluster_info('{cluster}') ->> 'name'") == [("ours",)]
    assert run(monitor, f"select event_type from clusters.get_cluster_events('{cluster}')") == [("CLUSTER_CREATED",)]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into autoscaler.nodes (name, region) values ('x', 'eu')",
        "update public.reservations set name = 'x'",
        "delete from public.dead_letters",
        "select clusters.create_cluster('x')",
        "select pgmq.send('gpu_reservations', '{}'::jsonb)",
        "select public.keep_house()",
    ],
)
@pytest.mark.parametrize("role", ["monitor", "ada"])
def test_who_only_reads_writes_nothing(request: pytest.FixtureRequest, role: str, statement: str) -> None:
    assert is_refused(request.getfixturevalue(role), statement)


def test_a_user_leaves_no_events(ada: Connection) -> None:
    assert is_refused(ada, "select clusters.note_read(null, 'get_cluster_events')")


@pytest.mark.parametrize("table", OWN_TABLES)
def test_a_user_sees_own_rows_and_those_of_own_members(world: World, table: str) -> None:
    with world.login(ADA) as ada, world.login(BOB) as bob, world.login(EVE) as eve:
        assert [whose(conn, table) for conn in (ada, bob, eve)] == [{ADA, BOB}, {BOB}, {EVE}]


def test_a_user_sees_the_cluster_that_the_user_is_on_without_its_key(ada: Connection) -> None:
    assert run(ada, "select name, api_url from hopsworks.hopsworks_clusters") == [("hers", "https://hers")]
    assert is_refused(ada, "select api_key from hopsworks.hopsworks_clusters")
    assert is_refused(ada, "select stripe_customer_id from hopsworks.users")


def test_a_user_who_claims_to_be_another_is_still_the_user(ada: Connection) -> None:
    run(ada, f"select set_config('request.jwt.claims', '{{\"sub\": \"{EVE}\"}}', true)")

    assert whose(ada, "hopsworks.users") == {ADA, BOB}


@pytest.mark.parametrize(
    ("name", "value"),
    [("request.jwt.claims", f'{{"sub": "{ADA}"}}'), ("request.jwt.claim.sub", ADA)],
    ids=["claims", "subject"],
)
def test_the_api_speaks_for_the_user_of_the_request(api: Connection, name: str, value: str) -> None:
    assert whose(api, "public.reservations") == set()

    api.execute("select set_config(%s, %s, true)", (name, value))

    assert whose(api, "public.reservations") == {ADA, BOB}


def test_the_owner_of_the_tables_sees_all(world: World) -> None:
    assert whose(world.owner, "public.reservations") == {ADA, BOB, EVE}


def test_switched_off_the_tables_are_as_before_and_no_user_sees_more(world: World) -> None:
    rules = "select count(*) from pg_policies where policyname like 'pgfleet_%'"
    guarded = "select count(*) from pg_class where relrowsecurity"
    assert run(world.owner, rules) != [(0,)]

    with world.owner.transaction(force_rollback=True):
        world.owner.execute("select public.switch_row_level_security(false)")

        assert (run(world.owner, rules), run(world.owner, guarded)) == ([(0,)], [(0,)])
        # Without policies, a right to read would be one to read everybody's rows.
        assert run(world.owner, "select has_any_column_privilege('pgfleet_user', 'public.reservations', 'select')") == [
            (False,)
        ]
