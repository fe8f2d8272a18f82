"""What a change leads to is done with the owner's rights: who may make the change needs no right to anything else."""

import psycopg
import pytest
from psycopg import sql

from worlds.database import Connection

WORLD = """
  set local pgfleet.actor = 'a worker';
  insert into public.gpu_nodes (node_name, gpu_type, gpus, is_ready, is_cordoned, resource_version)
    values ('n1', 'h100', 8, true, false, '1');
  insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at, gpu_type, gpu_count,
    gpus_held, disk_name)
    values ('waits', 'ada', 'pending', 1, now(), 'h100', 1, 0, 'home'),
      ('holds', 'ada', 'pending', 1, now(), 'h100', 1, 1, null),
      ('over', 'ada', 'pending', 1, now(), 'h100', 1, 0, null);
  update public.reservations set status = 'cancelled' where reservation_id = 'over';
  insert into public.gpu_pods (pod_uid, pod_name, namespace, reservation_id, gpu_type, node_name, gpus, phase, is_ready,
    is_deleting, fingerprint, resource_version)
    values ('p1', 'p1', 'pods', 'holds', 'h100', 'n1', 1, 'Running', true, false, 'f', '1');
  insert into public.disks (disk_name, user_id) values ('home', 'ada');
  insert into public.disk_snapshots (disk_id) select disk_id from public.disks;
  insert into hopsworks.users (id, email) values ('ada', 'ada@x'), ('bob', 'bob@x');
  insert into hopsworks.hopsworks_clusters (name, api_url, api_key, max_users) values ('hers', 'https://hers', 'k', 5);
  insert into hopsworks.user_hopsworks_assignments (user_id, hopsworks_cluster_id)
    select 'ada', id from hopsworks.hopsworks_clusters;
  insert into hopsworks.user_hopsworks_assignments (user_id) values ('bob');
  insert into public.outages (dependency, calls, queue, code, reason, retry_at)
    values ('kubernetes', 'read', 'gpu_reservations', 'X', 'x', now());
  insert into public.outages (dependency, calls, queue, code, reason, retry_at)
    select 'hopsworks:' || id, 'read', 'cluster_assignments', 'X', 'x', now() from hopsworks.hopsworks_clusters;
  insert into public.node_cordons (node_name, until) values ('n1', now() + interval '1 hour');
  insert into autoscaler.nodes (name, region) values ('m', 'eu');
  select clusters.add_cluster_node(clusters.create_cluster('ours'), 'c');
  delete from pgmq.q_gpu_reservations;
  delete from pgmq.q_cluster_assignments;
  reset pgfleet.actor;
"""
RESERVATIONS, ASSIGNMENTS = "gpu_reservations", "cluster_assignments"
# The table, a change of it, and the message that it leads to.
SENDS = [
    ("public.gpu_types", "update {} set total_cluster_gpus = total_cluster_gpus + 1", RESERVATIONS, "admit"),
    ("public.reservations", "update {} set gpus_held = 0 where reservation_id = 'holds'", RESERVATIONS, "admit"),
    ("public.reservations", "update {} set forced_at = now() where reservation_id = 'over'", RESERVATIONS, "advance"),
    ("public.disks", "update {} set status = 'failed'", RESERVATIONS, "admit"),
    ("public.disk_snapshots", "update {} set progress_percent = 5", RESERVATIONS, "admit"),
    ("public.disk_snapshots", "insert into {} (disk_id) select disk_id from {}", RESERVATIONS, "admit"),
    ("public.outages", "update {} set ended_at = now()", RESERVATIONS, "admit"),
    ("public.outages", "update {} set ended_at = now()", ASSIGNMENTS, "admit"),
    ("public.gpu_nodes", "update {} set gpus = 9", RESERVATIONS, "admit"),
    ("public.gpu_pods", "update {} set phase = 'Failed'", RESERVATIONS, "admit"),
    ("public.node_cordons", "delete from {}", RESERVATIONS, "admit"),
    ("public.node_cordons", "update {} set until = now() + interval '2 hours'", RESERVATIONS, "advance"),
    ("hopsworks.user_hopsworks_assignments", "update {} set status = 'failed'", ASSIGNMENTS, "close_account"),
    ("hopsworks.hopsworks_clusters", "update {} set max_users = 9", ASSIGNMENTS, "admit"),
]
# Changes that send nothing, and write elsewhere: histories, counters, logs.
WRITES = [
    (
        "public.disk_operations",
        "insert into {} (operation_id, action, user_id, disk_name) values (gen_random_uuid(), 'x', 'ada', 'home')",
    ),
    ("autoscaler.nodes", "update {} set status = 'ACTIVE'"),
    ("clusters.clusters", "update {} set status = 'offline'"),
    ("clusters.cluster_nodes", "update {} set status = 'error'"),
    ("public.pauses", "insert into {} (what) values ('deletes')"),
    ("public.gpu_types", "update {} set is_active = false"),
]


def act_as(conn: Connection, login: str) -> None:
    conn.execute(sql.SQL("set local session authorization {}").format(sql.Identifier(login)))


def allow(conn: Connection, login: str, table: str) -> None:
    """That one table and nothing else."""
    schema, name = table.split(".")
    names = {"table": sql.Identifier(schema, name), "login": sql.Identifier(login)}
    conn.execute(sql.SQL("grant select, insert, update, delete on {table} to {login}").format(**names))


def actions(conn: Connection, queue: str) -> set[str]:
    found = conn.execute(sql.SQL("select message ->> 'action' from {}").format(sql.Identifier("pgmq", f"q_{queue}")))
    return {action for (action,) in found}


@pytest.mark.parametrize(("table", "change", "queue", "action"), SENDS)
def test_a_change_by_somebody_with_no_right_to_queues_tells_the_workers(
    db: Connection, login: str, table: str, change: str, queue: str, action: str
) -> None:
    db.execute(WORLD)
    allow(db, login, table)

    act_as(db, login)
    db.execute(change.replace("{}", table).encode())
    db.execute("reset session authorization")

    assert action in actions(db, queue)


@pytest.mark.parametrize(("table", "change"), WRITES)
def test_a_change_by_somebody_with_no_other_right_is_written_down(
    db: Connection, login: str, table: str, change: str
) -> None:
    db.execute(WORLD)
    allow(db, login, table)

    act_as(db, login)
    done = db.execute(change.replace("{}", table).encode())

    assert done.rowcount > 0


def test_the_functions_with_their_owners_rights_are_nobodys_to_call_and_look_nowhere_else(db: Connection) -> None:
    open_or_astray = """
      select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where p.prosecdef and n.nspname in ('public', 'hopsworks', 'autoscaler', 'clusters', 'auth')
        and (not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)
          or exists (
            select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) r
            where r.grantee = 0 and r.privilege_type = 'EXECUTE'))
    """

    # The door calls them for whoever sends: what one counts, it counts against who calls, and the other tells the name
    # of a node.
    assert sorted(db.execute(open_or_astray.encode()).fetchall()) == [("count_send(oid,integer)",), ("node_of(text)",)]


def test_what_sends_or_writes_elsewhere_is_not_for_strangers_to_call(db: Connection, login: str) -> None:
    act_as(db, login)

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("select public.note_database()")
