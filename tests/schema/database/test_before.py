"""A database that was migrated before the SQL files were put in order is brought over whole."""

import json
from importlib.resources import files

import psycopg
import pytest

from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.database.migrate import EditedMigration, NewerDatabase, migrate
from pgfleet.schema.doctor.findings import Limits, Severity
from pgfleet.schema.doctor.program import checksums
from worlds.database import Connection, comparable, dump

BEFORE = json.loads(files("pgfleet.schema.database").joinpath("before.json").read_text("utf-8"))["files"]
# What the new files made that the old ones did not, and the other way round.
AS_BEFORE = """
  alter table public.schema_migrations drop column makes;
  drop view public.queue_flow, public.fleet_sequences, public.fleet_queues, public.fleet_views;
  drop function public.create_fleet_queue(text, text[]);
  create function public.fleet_queues() returns text[] language sql immutable as $$ select '{old}'::text[] $$;
  create or replace function public.ring_on_send(queue text) returns void language plpgsql as $$ begin end $$;
  comment on column public.disks.user_id is null;
  create table hopsworks.cluster_breakers (
    cluster_id uuid primary key references hopsworks.hopsworks_clusters (id) on delete cascade,
    failures integer not null default 0, kind text, reason text, opened_at timestamptz, retry_at timestamptz);
  create function hopsworks.make_breaker() returns trigger language plpgsql as $$ begin return null; end $$;
  create trigger make_breaker after insert on hopsworks.hopsworks_clusters
    for each row execute function hopsworks.make_breaker();
"""
BREAKERS = """
  insert into hopsworks.hopsworks_clusters (id, name, api_url, api_key)
    values ('00000000-0000-0000-0000-00000000000a', 'a', 'https://a.example.org', 'key'),
      ('00000000-0000-0000-0000-00000000000b', 'b', 'https://b.example.org', 'key');
  insert into hopsworks.cluster_breakers values
    ('00000000-0000-0000-0000-00000000000a', 0, 'api_key', 'answered 401', now(), now()),
    ('00000000-0000-0000-0000-00000000000b', 2, null, null, null, null);
  select pgmq.send('cluster_assignments', body::jsonb) from unnest(array[
    '{"action": "call_failed"}', '{"action": "call_answered"}', '{"action": "probe"}', '{"action": "sweep"}']) body;
"""
ROWS = """
  set pgfleet.actor = 'a worker, which is not audited';
  insert into public.reservations (reservation_id, user_id, status, duration_hours, created_at)
    values ('r1', 'ada', 'pending', 1, now());
  update public.reservations set status = 'queued';
  -- Its times can't be compared.
  update public.reservations set status_history = '[]';
  insert into public.disks (disk_id, disk_name, user_id)
    values ('00000000-0000-0000-0000-000000000001', 'home', 'ada');
  update public.retention set keep = '5 days' where table_name = 'pgmq.a_gpu_reservations';
  select pgmq.send('gpu_reservations', '{"action": "sweep"}'::jsonb);
"""


@pytest.fixture
def older(dsn: str, conn: Connection) -> str:
    """The test's database, with rows, as far as its record and its functions go as it was made before."""
    conn.execute(ROWS.encode())
    conn.execute(AS_BEFORE.encode())
    conn.execute("delete from public.schema_migrations")
    for version, (checksum, *_) in BEFORE.items():
        conn.execute("insert into public.schema_migrations (version, checksum) values (%s, %s)", (version, checksum))
    return dsn


def test_a_database_of_before_is_brought_over_with_its_rows(dsn: str, conn: Connection, older: str) -> None:
    queue = conn.execute("select msg_id, vt from pgmq.q_gpu_reservations").fetchall()

    applied = migrate(older)

    assert [file.version for file in applied] == [file.version for file in sql_files()]
    assert migrate(older) == []
    assert conn.execute("select status from public.reservations").fetchall() == [("queued",)]
    assert conn.execute("select count(*) from public.disks").fetchone() == (1,)
    assert conn.execute("select msg_id, vt from pgmq.q_gpu_reservations").fetchall() == queue
    kept = "select keep from public.retention where table_name = 'pgmq.a_gpu_reservations' and keep = '5 days'"
    assert len(conn.execute(kept).fetchall()) == 1


def test_a_database_of_before_becomes_what_a_new_one_is(older: str, empty_dsn: str) -> None:
    migrate(empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(ROWS.encode())

    migrate(older)

    assert comparable(dump(older)) == comparable(dump(empty_dsn))


def test_clusters_that_did_not_answer_before_are_outages_now(older: str, conn: Connection) -> None:
    conn.execute(BREAKERS.encode())

    migrate(older)

    outages = "select dependency, calls, queue, code, reason from public.outages where ended_at is null"
    cluster = "hopsworks:00000000-0000-0000-0000-00000000000a"
    found = conn.execute(outages).fetchall()
    assert found == [(cluster, "read", "cluster_assignments", "CLUSTER_KEY_REFUSED", "answered 401")]
    left = conn.execute("select message ->> 'action' from pgmq.q_cluster_assignments").fetchall()
    assert left == [("sweep",)]


def test_a_database_of_another_before_is_refused_by_name(older: str, conn: Connection) -> None:
    conn.execute("update public.schema_migrations set checksum = 'x' where version = 'schema/011_reservation_machine'")
    with pytest.raises(NewerDatabase, match=r"schema/025_assignments"):
        migrate(older)

    conn.execute("delete from public.schema_migrations where version > 'schema/020'")
    with pytest.raises(EditedMigration, match=r"schema/011_reservation_machine\.sql"):
        migrate(older)


def test_the_doctor_says_what_brings_it_over(older: str, conn: Connection) -> None:
    (finding,) = checksums(conn, Limits())

    assert (finding.severity, finding.remedy) == (Severity.WARNING, "pgfleet migrate brings it over")
