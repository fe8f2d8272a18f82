"""The machines of disks, snapshots, assignments, nodes and clusters: which moves they take, and what tells of them."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import psycopg
import pytest

from worlds.database import Connection, fresh_database

CLUSTER = "cluster-aaaaaaaa-2026-01-21-12-00-00-bbbbbbbb"
NODE = "node-aaaaaaaa-2026-01-21-1-cccccccc"
SET_UP = f"""
  insert into hopsworks.users (id, email) values ('auth0|1', 'ada@example.com');
  insert into hopsworks.hopsworks_clusters (name, api_url, api_key) values ('prod', 'https://x', 'secret');
  insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at)
    values ('r1', 'ada', 'pending', 1, now());
  insert into clusters.clusters (cluster_id, name, max_nodes, max_tenants, max_storage_gb)
    values ('{CLUSTER}', 'ours', 3, 3, 3);
  insert into public.disks (disk_name, user_id, snapshot_count, pending_snapshot_count)
    values ('of a snapshot', 'ada', 9, 9);
"""


@dataclass(frozen=True)
class Machine:
    """A machine's table, the statement that makes a row, and what has to be beside a status, or a move."""

    table: str
    key: str
    states: tuple[str, ...]
    moves: str
    insert: str
    born: str
    beside: str = ""
    moved: str = ""


# Moves as `from: to to`, a state a line, as SPEC 2 draws them.
MACHINES = {
    "disk": Machine(
        "public.disks",
        "disk_id",
        ("creating", "available", "attached", "deleted", "purged", "failed"),
        """creating: available failed
           available: attached deleted
           attached: available
           deleted: available purged""",
        "insert into public.disks (disk_name, user_id, status) values (gen_random_uuid()::text, 'ada', %(status)s)",
        "creating",
    ),
    "disk_snapshot": Machine(
        "public.disk_snapshots",
        "snapshot_id",
        ("pending", "creating", "completed", "deleting", "deleted", "failed"),
        """pending: creating failed
           creating: completed failed
           completed: deleting
           deleting: deleted""",
        "insert into public.disk_snapshots (disk_id, status)"
        " select disk_id, %(status)s from public.disks where disk_name = 'of a snapshot'",
        "pending",
    ),
    "assignment": Machine(
        "hopsworks.user_hopsworks_assignments",
        "id",
        ("pending", "creating_user", "active", "released", "failed"),
        """pending: creating_user failed
           creating_user: active failed
           active: released
           released: pending
           failed: pending""",
        "insert into hopsworks.user_hopsworks_assignments (user_id, hopsworks_cluster_id, hopsworks_username, status)"
        " select 'auth0|1', id, 'ada00000', %(status)s from hopsworks.hopsworks_clusters",
        "pending",
        # Who leaves is on no cluster.
        moved=", hopsworks_cluster_id = (select id from hopsworks.hopsworks_clusters)",
    ),
    "node": Machine(
        "autoscaler.nodes",
        "id",
        ("INACTIVE", "ACTIVE", "ERROR", "OFFLINE"),
        """INACTIVE: ACTIVE
           ACTIVE: ERROR OFFLINE
           ERROR: ACTIVE OFFLINE
           OFFLINE: ACTIVE ERROR""",
        "insert into autoscaler.nodes (name, region, status) values ('n', 'eu', %(status)s)",
        "INACTIVE",
    ),
    "cluster": Machine(
        "clusters.clusters",
        "cluster_id",
        ("initializing", "active", "degraded", "maintenance", "offline", "decommissioning"),
        """initializing: active degraded maintenance offline decommissioning
           active: degraded maintenance offline decommissioning
           degraded: active maintenance offline decommissioning
           maintenance: active degraded offline decommissioning
           offline: active degraded maintenance decommissioning""",
        "insert into clusters.clusters (cluster_id, name, status, max_nodes, max_tenants, max_storage_gb)"
        f" values ('{CLUSTER.replace('bbb', 'ddd')}', 'x', %(status)s, 1, 1, 1)",
        "initializing",
    ),
    "cluster_node": Machine(
        "clusters.cluster_nodes",
        "node_id",
        ("provisioning", "online", "offline", "maintenance", "error", "decommissioning"),
        """provisioning: online offline maintenance error decommissioning
           online: offline maintenance error decommissioning
           offline: online maintenance error decommissioning
           maintenance: online offline error decommissioning
           error: online offline maintenance decommissioning""",
        "insert into clusters.cluster_nodes (node_id, cluster_id, node_number, name, status)"
        f" values ('{NODE}', '{CLUSTER}', 1, 'one', %(status)s)",
        "provisioning",
    ),
}
PAIRS = [(name, a, b) for name, machine in MACHINES.items() for a, b in itertools.permutations(machine.states, 2)]


@pytest.fixture(scope="module")
def machines(server_dsn: str, template: str) -> Iterator[Connection]:
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SET_UP.encode())
        yield conn


@pytest.fixture
def db(machines: Connection) -> Iterator[Connection]:
    """One database for all, each test in a transaction that is rolled back."""
    with machines.transaction(force_rollback=True):
        yield machines


def insert(conn: Connection, machine: Machine, status: str | None = None) -> str:
    statement = f"{machine.insert} returning {machine.key}::text"
    row = conn.execute(statement.encode(), {"status": status or machine.born}).fetchone()
    assert row is not None
    return str(row[0])


def move(conn: Connection, machine: Machine, row_id: str, to: str) -> None:
    statement = f"update {machine.table} set status = %s{machine.moved} where {machine.key}::text = %s"
    conn.execute(statement.encode(), (to, row_id))


def put(conn: Connection, machine: Machine, status: str) -> str:
    """A row that is in a state, however it came there."""
    row_id = insert(conn, machine)
    # What is checked at the commit otherwise would stand in the way of the next statement.
    conn.execute("set constraints all immediate")
    conn.execute(f"alter table {machine.table} disable trigger user".encode())
    move(conn, machine, row_id, status)
    conn.execute(f"alter table {machine.table} enable trigger user".encode())
    return row_id


def listed(name: str) -> set[tuple[str, str]]:
    lines = [line.strip().partition(": ") for line in MACHINES[name].moves.splitlines()]
    return {(origin, to) for origin, _, targets in lines for to in targets.split()}


def history(conn: Connection, name: str, row_id: str) -> list[tuple[Any, ...]]:
    return conn.execute(
        "select from_status, to_status, reason, actor from public.status_history"
        " where machine = %s and row_id = %s order by history_id",
        (name, row_id),
    ).fetchall()


def refusal(conn: Connection, machine: Machine, row_id: str, to: str) -> str | None:
    with pytest.raises(psycopg.Error) as refused, conn.transaction():
        move(conn, machine, row_id, to)
    return refused.value.sqlstate


@pytest.mark.parametrize(("name", "origin", "to"), PAIRS)
@pytest.mark.parametrize("actor", ["", "worker-7"])
def test_a_move_is_taken_only_if_it_is_listed_whoever_makes_it(
    db: Connection, name: str, origin: str, to: str, actor: str
) -> None:
    machine = MACHINES[name]
    row_id = put(db, machine, origin)
    db.execute("select set_config('pgfleet.actor', %s, true), set_config('pgfleet.reason', 'a reason', true)", (actor,))

    if (origin, to) in listed(name):
        move(db, machine, row_id, to)
        expected = ("", actor) if actor else ("a reason", "postgres (by hand)")
        assert history(db, name, row_id)[-1] == (origin, to, *expected)
    else:
        assert refusal(db, machine, row_id, to) == "PF002"


@pytest.mark.parametrize(("name", "status"), [(name, s) for name, machine in MACHINES.items() for s in machine.states])
def test_a_row_is_born_in_its_first_state_only(db: Connection, name: str, status: str) -> None:
    machine = MACHINES[name]

    if status == machine.born:
        assert [row[:2] for row in history(db, name, insert(db, machine, status))] == [("(new)", status)]
    else:
        with pytest.raises(psycopg.Error, match=r"may not move from \(new\)") as refused, db.transaction():
            insert(db, machine, status)
        assert refused.value.sqlstate == "PF002"


@pytest.mark.parametrize("name", MACHINES)
def test_a_word_that_is_no_status_is_refused(db: Connection, name: str) -> None:
    machine = MACHINES[name]
    row_id = insert(db, machine)

    # An enum is PostgreSQL's to refuse.
    assert refusal(db, machine, row_id, "nonsense") == ("22P02" if name == "node" else "PF004")


@pytest.mark.parametrize("name", MACHINES)
def test_the_database_lists_the_documented_moves_and_no_other(db: Connection, name: str) -> None:
    found = db.execute(
        "select from_status, to_status from public.moves where machine = %s and happens_when <> ''", (name,)
    ).fetchall()

    assert set(found) == listed(name) | {("(new)", MACHINES[name].born)}


@pytest.mark.parametrize("name", MACHINES)
def test_a_walk_leaves_a_history_without_a_gap_that_ends_where_the_row_is(db: Connection, name: str) -> None:
    dice, machine = Random(name), MACHINES[name]
    row_id = insert(db, machine)
    at = machine.born
    road = [("(new)", at)]
    while len(road) < 12 and (ways := sorted(to for origin, to in listed(name) if origin == at)):
        # On towards the end only when there is nowhere else to go.
        to = dice.choice([way for way in ways if way not in ("decommissioning", "purged", "failed")] or ways)
        move(db, machine, row_id, to)
        road.append((at, to))
        at = to

    assert [row[:2] for row in history(db, name, row_id)] == road


@pytest.mark.parametrize("name", MACHINES)
def test_a_row_that_stays_where_it_is_makes_no_history(db: Connection, name: str) -> None:
    machine = MACHINES[name]
    row_id = insert(db, machine)

    move(db, machine, row_id, machine.born)

    assert len(history(db, name, row_id)) == 1


@pytest.mark.parametrize("name", MACHINES)
def test_status_since_is_the_time_of_the_move(db: Connection, name: str) -> None:
    machine = MACHINES[name]
    row_id = put(db, machine, machine.born)
    db.execute(f"update {machine.table} set status_since = 'epoch' where {machine.key}::text = %s".encode(), (row_id,))

    move(db, machine, row_id, min(to for origin, to in listed(name) if origin == machine.born))

    query = f"select status_since > now() - interval '1 hour' from {machine.table} where {machine.key}::text = %s"
    assert db.execute(query.encode(), (row_id,)).fetchall() == [(True,)]
