"""What looks at whole tables again and again reads each a few times, also where the planner has seen them empty."""

from collections.abc import Callable, Iterator
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from pgfleet.schema import assignment, reservation
from pgfleet.schema.disk import DiskTicket, Proceed, Prune, SnapshotTicket
from pgfleet.schema.doctor.examination import examine
from pgfleet.schema.messages import Message, Sweep
from pgfleet.schema.rows.forgotten import ask_forgotten, forgotten
from pgfleet.schema.settings import read_settings
from pgfleet.workers.assignment import view as assignment_view
from pgfleet.workers.disk import view as disk_view
from pgfleet.workers.reservation import view as reservation_view
from worlds.database import fresh_database
from worlds.fleet import Connection

CROWD = (Path(__file__).parents[2] / "worlds" / "crowd.sql").read_text(encoding="utf-8")
# Each of some twenty tables has so many rows; what compares two of them row by row reads a million.
ROWS, BATCH = 1_000, 50
MOST_READ = 150 * ROWS
# A batch's own rows, and some tables once.
MOST_READ_FOR_A_BATCH = 40 * ROWS
FILLED = """
select quote_ident(schemaname) || '.' || quote_ident(relname) from pg_stat_xact_user_tables where n_tup_ins > 100
"""
READ = "select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint from pg_stat_xact_user_tables"
MACHINES = ("reservation", "disk", "disk_snapshot", "disk_operation", "assignment")


def _loads(module: Any, *messages: Message) -> Callable[[Connection], object]:
    return lambda conn: module.load(conn, messages, read_settings(database_url="postgresql://localhost/x"))


def _asks(query: str) -> Callable[[Connection], object]:
    return lambda conn: conn.execute(query.encode()).fetchall()


def _swept(machine: str) -> Callable[[Connection], object]:
    return lambda conn: ask_forgotten(conn, machine, 500).fetchall()


def _shown(machine: str) -> Callable[[Connection], object]:
    return lambda conn: forgotten(conn, machine)


def _id(letter: str, number: int) -> str:
    return str(UUID(md5(f"{letter}{number}".encode(), usedforsecurity=False).hexdigest()))


NUMBERS = range(501, 501 + BATCH)
WHOLE: dict[str, Callable[[Connection], object]] = {
    **{f"forgotten {name}": _swept(name) for name in MACHINES},
    **{f"forgotten {name}, all": _shown(name) for name in MACHINES},
    "assignments' sweep": _loads(assignment_view, Sweep()),
    "accounts' sweep": _loads(assignment_view, assignment.SweepAccounts()),
    "seats' sweep": _loads(assignment_view, assignment.SweepSeats()),
    "line for seats": _loads(assignment_view, assignment.Admit()),
    "disks' sweep": _loads(disk_view, Sweep()),
    "retention": _loads(disk_view, Prune()),
    "line for GPUs": _loads(reservation_view, reservation.Admit(gpu_type="h100")),
    "pods' sweeps": _loads(reservation_view, reservation.SweepPods(), reservation.SweepStuck()),
    "availability": _asks("select public.note_availability('x')"),
    "silent nodes": _asks("select autoscaler.sweep_offline('5 minutes', 0.5)"),
    "silent cluster nodes": _asks("select clusters.sweep_offline(3, 0.5, true)"),
    "a minute's analytics": _asks("select autoscaler.roll_up()"),
    "schedules": _asks("select autoscaler.apply_schedules()"),
    "a day's use": _asks("select hopsworks.use_of_day((now() - interval '1 day')::date, null)"),
    "doctor": examine,
}
OF_A_BATCH: dict[str, Callable[[Connection], object]] = {
    "reservations": _loads(
        reservation_view, *(reservation.Ticket(reservation_id=_id("r", n), ticket=3) for n in NUMBERS)
    ),
    "disks": _loads(disk_view, *(DiskTicket(disk_id=_id("d", n), ticket=3) for n in NUMBERS)),
    "snapshots": _loads(disk_view, *(SnapshotTicket(snapshot_id=_id("s", n), ticket=3) for n in NUMBERS)),
    "operations": _loads(disk_view, *(Proceed(operation_id=_id("o", n)) for n in NUMBERS)),
    "assignments": _loads(assignment_view, *(assignment.Ticket(user_id=f"u{n}", ticket=3) for n in NUMBERS)),
    "requests that waited": _asks("""
      insert into public.reservations (reservation_id, user_id, status, gpu_type, gpu_count, duration_hours, created_at)
      select md5('n' || n)::uuid, 'u', 'pending', 'h100', 1, 1, now() from generate_series(1, 50) n returning 1"""),
    "one day of some": _asks("""
      select hopsworks.use_of_day((now() - interval '1 day')::date, array(
        select 'u' || n from generate_series(501, 550) n))"""),
    "heartbeats": _asks("""
      select autoscaler.take_heartbeats(
        jsonb_agg(jsonb_build_object('id', gen_random_uuid(), 'node_id', n, 'sent_at', now(), 'status', 'ok',
          'metrics', '{}'::jsonb, 'pools', '[]'::jsonb)), true, array_agg(now()))
      from generate_series(501, 550) n"""),
}


@pytest.fixture(scope="module")
def unlucky(server_dsn: str, template: str) -> Iterator[Connection]:
    """Full tables and queues, of which each was empty when it was analyzed."""
    # What compares all with all is given up.
    limit: dict[str, Any] = {"prepare_threshold": None, "options": "-c statement_timeout=60s"}
    with fresh_database(server_dsn, template) as dsn, psycopg.connect(dsn, autocommit=True, **limit) as conn:
        with conn.transaction():
            conn.execute(CROWD.encode())
            tables = [name for (name,) in conn.execute(FILLED).fetchall()]
            conn.execute("set local session_replication_role = replica")
            for table in tables:
                conn.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
                conn.execute(f"delete from {table}".encode())
            conn.execute("delete from hopsworks.hopsworks_clusters")
        for table in tables:
            conn.execute(f"vacuum (analyze, truncate off) {table}".encode())
        conn.execute(CROWD.encode())
        yield conn


def _rows_read(conn: Connection) -> int:
    row = conn.execute(READ).fetchone()
    assert row is not None
    return int(row[0])


def _read_by(conn: Connection, ask: Callable[[Connection], object]) -> int:
    with conn.transaction(force_rollback=True):
        before = _rows_read(conn)
        ask(conn)
        return _rows_read(conn) - before


@pytest.mark.parametrize("name", WHOLE)
def test_what_looks_at_whole_tables_reads_each_a_few_times(unlucky: Connection, name: str) -> None:
    read = _read_by(unlucky, WHOLE[name])

    assert ROWS / 10 < read <= MOST_READ


@pytest.mark.parametrize("name", OF_A_BATCH)
def test_what_a_batch_is_about_does_not_have_tables_read_for_each_message(unlucky: Connection, name: str) -> None:
    read = _read_by(unlucky, OF_A_BATCH[name])

    assert BATCH <= read <= MOST_READ_FOR_A_BATCH
