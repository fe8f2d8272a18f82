"""A new kind's own SQL files, and nothing else, give it what the other kinds have."""

import re
from typing import Any

import pytest

from pgfleet.schema.database import migrate as program
from pgfleet.schema.database.catalog import SqlFile, sql_files
from pgfleet.schema.database.migrate import migrate
from worlds.database import Connection

TABLES = """
  create table if not exists public.parcels (
    parcel_id bigint generated always as identity primary key,
    user_id text not null,
    status text not null,
    status_reason text,
    status_msg_id bigint
  );
  comment on column public.parcels.user_id is 'The user whose row it is';
  insert into public.moves (machine, from_status, to_status, happens_when) values
    ('parcel', '(new)', 'sent', ''), ('parcel', 'sent', 'there', '')
  on conflict (machine, from_status, to_status) do update set happens_when = excluded.happens_when;
"""
FUNCTIONS = """
  select public.create_fleet_queue('parcels');
  select public.guard_machine('public.parcels', 'parcel', 'parcel_id');
"""
RIGHTS = """
  create or replace view public.rights_of_parcel (who, thing, may) as values
    ('worker', 'pgmq.q_parcels', 'work'),
    ('worker', 'public.parcels', 'select, insert, update'),
    ('worker', 'public.late_parcels', 'select');
"""
VIEW = "create or replace view public.late_parcels as select parcel_id, user_id from public.parcels;"
KIND = [
    SqlFile("schema/098_parcel_machine", TABLES),
    SqlFile("schema/198_parcels", f"{FUNCTIONS}\n{VIEW}\n{RIGHTS}"),
]


@pytest.fixture(params=[True, False], ids=["row level security before the kind", "and after it"])
def parcels(request: pytest.FixtureRequest, dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> Connection:
    before = bool(request.param)
    if before:
        migrate(dsn, rls=True)
    monkeypatch.setattr(program, "sql_files", lambda: sorted([*sql_files(), *KIND], key=order))
    migrate(dsn, rls=None if before else True)
    return conn


def test_a_worker_sends_claims_and_deletes_its_messages(parcels: Connection) -> None:
    as_role(parcels, "pgfleet_worker_parcel", "select pgmq.send('parcels', '{}'::jsonb)")

    assert len(as_role(parcels, "pgfleet_worker_parcel", "select msg_id from pgmq.read('parcels', 30, 10)")) == 1
    assert as_role(parcels, "pgfleet_worker_parcel", "delete from pgmq.q_parcels returning 1") == [(1,)]


def test_a_worker_moves_its_rows(parcels: Connection) -> None:
    as_role(parcels, "pgfleet_worker_parcel", "insert into public.parcels (user_id, status) values ('ada', 'sent')")
    as_role(parcels, "pgfleet_worker_parcel", "update public.parcels set status = 'there'")

    assert as_role(parcels, "pgfleet_worker_parcel", "select status from public.parcels") == [("there",)]
    assert as_role(parcels, "pgfleet_worker_parcel", "select user_id from public.late_parcels") == [("ada",)]
    moves = "select to_status from public.status_history where machine = 'parcel' order by history_id"
    assert parcels.execute(moves).fetchall() == [("sent",), ("there",)]


def test_a_monitor_and_users_see_what_they_see_of_other_kinds(parcels: Connection) -> None:
    parcels.execute("insert into public.parcels (user_id, status) values ('ada', 'sent')")

    assert as_role(parcels, "pgfleet_monitor", "select user_id from public.parcels") == [("ada",)]
    assert as_role(parcels, "pgfleet_monitor", "select user_id from public.late_parcels") == [("ada",)]
    assert as_role(parcels, "pgfleet_user", "select user_id from public.parcels") == []


def test_its_archive_is_kept_for_a_while_and_its_queue_rings(parcels: Connection) -> None:
    kept = "select keep::text from public.retention where table_name = 'pgmq.a_parcels'"
    assert parcels.execute(kept).fetchall() == [("30 days",)]

    assert parcels.execute("select 1 from public.fleet_queues where queue_name = 'parcels'").fetchall() == [(1,)]


def as_role(conn: Connection, role: str, statement: str) -> list[tuple[Any, ...]]:
    with conn.transaction():
        conn.execute(f"set local role {role}".encode())
        cursor = conn.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def order(file: SqlFile) -> tuple[bool, str]:
    return bool(re.match("fixtures", file.version)), file.version
