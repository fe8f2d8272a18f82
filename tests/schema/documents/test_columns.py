"""What the tables of seed 003 do by themselves: defaults, triggers, what goes with what, what is refused."""

from typing import Any

import psycopg
import pytest

Connection = psycopg.Connection[tuple[Any, ...]]
A_RESERVATION = """
  insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at)
  values ('r1', 'ada', 'pending', 8, now())
"""
A_DISK = """
  insert into public.disks (disk_name, user_id) values ('home', 'ada');
  update public.disks set status = 'available';
  update public.disks set status = 'attached', reservation_id = 'r1'
"""
QUEUES = ["gpu_reservations", "disk_operations", "cluster_assignments", "node_heartbeats"]


@pytest.mark.parametrize(
    ("gpu_type", "row"),
    [
        ("t4", ("g4dn.12xlarge", 4, 48, 192, 8)),
        ("t4-small", ("g4dn.2xlarge", 1, 8, 32, 1)),
        ("l4", ("g6.12xlarge", 4, 48, 192, 4)),
        ("a10g", ("g5.12xlarge", 4, 48, 192, 4)),
        ("a100", ("p4d.24xlarge", 8, 96, 1152, 16)),
        ("h100", ("p5.48xlarge", 8, 192, 2048, 16)),
        ("h200", ("p5e.48xlarge", 8, 192, 2048, 16)),
        ("b200", ("p6-b200.48xlarge", 8, 192, 2048, 16)),
        ("cpu-x86", ("c7i.8xlarge", 0, 32, 64, 0)),
        ("cpu-arm", ("c7g.8xlarge", 0, 32, 64, 0)),
    ],
)
def test_the_fixture_has_the_gpu_types_of_the_contract(conn: Connection, gpu_type: str, row: tuple[Any, ...]) -> None:
    query = """
      select instance_type, max_gpus, cpus, memory_gb, total_cluster_gpus
      from public.gpu_types where gpu_type = %s and is_active and available_gpus is null
    """

    assert conn.execute(query, (gpu_type,)).fetchone() == row


@pytest.mark.parametrize(
    ("look", "change"),
    [
        ("select min(updated_at) from public.reservations", "update public.reservations set name = 'mine'"),
        ("select min(last_updated) from public.disks", "update public.disks set size_gb = 10"),
        ("select min(updated_at) from public.gpu_types", "update public.gpu_types set is_active = false"),
    ],
)
def test_a_change_touches_the_row(conn: Connection, look: str, change: str) -> None:
    conn.execute(A_RESERVATION)
    conn.execute(A_DISK)
    ((before,),) = conn.execute(look.encode()).fetchall()

    conn.execute(change.encode())

    ((after,),) = conn.execute(look.encode()).fetchall()
    assert after > before


def test_a_reservation_that_goes_lets_its_disk_go_and_takes_its_names_along(conn: Connection) -> None:
    conn.execute(A_RESERVATION)
    conn.execute(A_DISK)
    conn.execute("insert into public.domain_mappings values ('ada.example', '10.0.0.1', 30022, 'r1')")
    conn.execute("insert into public.alb_target_groups values ('r1', 'ssh', 'group-1')")

    conn.execute("alter table public.reservations disable trigger keep_row")
    conn.execute("delete from public.reservations")

    assert conn.execute("select reservation_id from public.disks").fetchall() == [(None,)]
    assert conn.execute("select from public.domain_mappings").fetchall() == []
    assert conn.execute("select from public.alb_target_groups").fetchall() == []


def test_a_person_who_goes_takes_the_keys_along(conn: Connection) -> None:
    conn.execute("insert into public.api_users (username) values ('ada')")
    conn.execute("insert into public.api_keys (user_id, key_hash, key_prefix) values (1, 'hash', 'prefix')")

    conn.execute("delete from public.api_users")

    assert conn.execute("select from public.api_keys").fetchall() == []


@pytest.mark.parametrize(
    "statement",
    [
        A_RESERVATION.replace("8", "0"),
        A_RESERVATION,
        "insert into public.api_users (username) values ('bob')",
        "insert into public.disks (disk_name, user_id) values ('home', 'bob')",
        "update public.disks set status = 'attached', reservation_id = 'unknown'",
        "update public.gpu_types set available_gpus = -1",
        "select public.create_queue('No Such Name')",
    ],
)
def test_nonsense_is_refused(conn: Connection, statement: str) -> None:
    conn.execute(A_RESERVATION)
    conn.execute("insert into public.api_users (username) values ('bob')")
    conn.execute("insert into public.disks (disk_name, user_id) values ('home', 'bob')")

    with pytest.raises((psycopg.IntegrityError, psycopg.DataError)):
        conn.execute(statement.encode())


@pytest.mark.parametrize(
    "change",
    [
        "size_gb = 0",
        "snapshot_count = -1",
        "pending_snapshot_count = -1",
        "status = 'lost'",
        "reservation_id = 'r1'",
    ],
)
def test_a_disk_refuses_a_value_that_cannot_be_by_naming_it(conn: Connection, change: str) -> None:
    conn.execute(A_RESERVATION)
    conn.execute("insert into public.disks (disk_name, user_id) values ('home', 'bob')")

    with pytest.raises(psycopg.DatabaseError) as refused:
        conn.execute(f"update public.disks set {change}".encode())

    assert refused.value.sqlstate == "PF004"


@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_has_the_index_of_the_claim_and_no_other_on_vt(conn: Connection, queue: str) -> None:
    query = "select indexname from pg_indexes where schemaname = 'pgmq' and tablename = %s order by 1"

    found = [row[0] for row in conn.execute(query, (f"q_{queue}",))]
    # Of the looks at the line only (130), and of requests that wait for their row only (180). By the row, whose page
    # would else read the whole queue (158).
    few = {
        "cluster_assignments": ["admit"],
        "gpu_reservations": ["asked", "row"],
        "disk_operations": ["row"],
    }.get(queue, [])
    assert found == sorted(f"q_{queue}_{name}" for name in [*(f"{name}_idx" for name in few), "claim_idx", "pkey"])


def test_a_queue_that_is_there_is_made_again_without_waiting_for_its_users(conn: Connection, dsn: str) -> None:
    with psycopg.connect(dsn) as user:
        user.execute("select pgmq.send('gpu_reservations', '{}'::jsonb)")
        conn.execute("set lock_timeout = '1s'")

        conn.execute("select public.create_queue('gpu_reservations')")


def test_a_queue_can_be_made_by_any_pgmq_client_first(conn: Connection) -> None:
    conn.execute("select pgmq.create('node_replies_1')")
    conn.execute("select pgmq.send('node_replies_1', '{}'::jsonb)")

    conn.execute("select public.create_queue('node_replies_1')")

    assert conn.execute("select count(*) from pgmq.read('node_replies_1', 1, 10)").fetchone() == (1,)
    assert conn.execute("select to_regclass('pgmq.q_node_replies_1_claim_idx') is null").fetchone() == (False,)
