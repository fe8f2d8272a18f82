"""No lock that anybody can take decides anything: who waits is told in a sentence who is in the way."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from pgfleet.console.simulate.sender import register
from pgfleet.schema.database import holders
from pgfleet.schema.database import migrate as migrating
from pgfleet.schema.database.catalog import sql_files
from pgfleet.schema.database.holders import only_one
from pgfleet.schema.database.migrate import MigrationFailed, migrate
from pgfleet.schema.database.missing import missing
from pgfleet.schema.errors import Refusal
from worlds.database import Connection

# Every name of a lock that there has ever been.
ONCE = ("migrate", "up", "demo", "simulate", "ring", "sweep_offline", "create_queue")


LOCK_ALL = """
do $$
declare
  each record;
begin
  for each in
    select c.oid::regclass as name, c.relkind from pg_class c
    where c.relnamespace::regnamespace::text = any ('{public,autoscaler,clusters,hopsworks,pgmq}')
      and c.relkind in ('r', 'p', 'v') and c.oid <> 'public.schema_migrations'::regclass
  loop
    execute format(case each.relkind when 'v' then 'explain select from %1$s'
      else 'lock table only %1$s in row exclusive mode' end, each.name);
  end loop;
end
$$
"""
# A trigger, a view and an index, each otherwise than it has to be.
ALTERED = """
create or replace trigger note_status_since before update on hopsworks.user_hopsworks_assignments
  for each row execute function public.note_status_since();
create or replace view public.forgotten_disk as
select d.disk_id::text as row_id, d.ticket::bigint as ticket, d.status_since as since, false as is_overdue
from public.disks d;
drop index pgmq.q_cluster_assignments_admit_idx;
"""


@pytest.fixture
def stranger(server_dsn: str, dsn: str) -> Iterator[str]:
    """A login that may read a table, and nothing more."""
    name, password = f"reader_{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    host = urlsplit(dsn).netloc.rpartition("@")[2]
    names = {"name": sql.Identifier(name), "password": password}
    with psycopg.connect(server_dsn, autocommit=True) as admin, psycopg.connect(dsn, autocommit=True) as owner:
        admin.execute(sql.SQL("create role {name} login password {password}").format(**names))
        try:
            owner.execute(sql.SQL("grant select on all tables in schema public to {name}").format(**names))
            yield urlsplit(dsn)._replace(netloc=f"{name}:{password}@{host}").geturl()
        finally:
            owner.execute(sql.SQL("drop owned by {name}").format(**names))
            admin.execute(sql.SQL("drop role {name}").format(**names))


@contextmanager
def all_advisory_locks(dsn: str) -> Iterator[None]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "select pg_advisory_lock(hashtext('pgfleet.' || name)) from unnest(%s::text[]) name", (list(ONCE),)
        )
        yield


@contextmanager
def reading(dsn: str, table: str) -> Iterator[None]:
    """An open transaction that has as much of a table as who may read it can have."""
    with psycopg.connect(dsn) as conn:
        conn.execute(sql.SQL("lock table {} in access share mode").format(sql.Identifier(*table.split("."))))
        yield


def test_advisory_locks_of_a_stranger_are_in_nobodys_way(dsn: str, stranger: str, conn: Connection) -> None:
    with all_advisory_locks(stranger):
        assert migrate(dsn) == []
        with only_one(dsn, "public.moves", "running"):
            pass
        assert len(register(conn, ["sim-1"])) == 1


def test_a_reader_is_in_the_way_of_nobody_who_has_nothing_to_change(dsn: str, stranger: str) -> None:
    with reading(stranger, "public.schema_migrations"):
        assert migrate(dsn) == []


def test_a_reader_who_holds_what_has_to_change_is_named(
    dsn: str, stranger: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute("alter table public.reservations drop column env_vars")
    monkeypatch.setattr(migrating, "LONGEST_LOCK_S", 1)

    with reading(stranger, "public.reservations"), pytest.raises(MigrationFailed) as told:
        migrate(dsn)

    name = urlsplit(stranger).username
    assert f"({name}) holds AccessShareLock on public.reservations" in str(told.value)
    assert [applied.version for applied in migrate(dsn)] == ["column public.reservations.env_vars"]


def test_a_migration_of_all_functions_waits_for_nobody_who_works(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has written any table, and read any view, in a transaction that is still open."""
    monkeypatch.setattr(migrating, "LONGEST_LOCK_S", 0)
    again = [file.version for file in sql_files() if file.may_change]
    conn.execute("update public.schema_migrations set checksum = 'of before' where version = any (%s)", (again,))
    with psycopg.connect(dsn) as working:
        working.execute(LOCK_ALL)

        assert [applied.version for applied in migrate(dsn)] == again


def test_what_is_not_as_it_has_to_be_is_made_anew_by_its_file(dsn: str, conn: Connection) -> None:
    conn.execute(ALTERED)
    again = [file.version for file in sql_files() if file.may_change]
    conn.execute("update public.schema_migrations set checksum = 'of before' where version = any (%s)", (again,))

    # By the files: nothing is left to be mended.
    assert [applied.version for applied in migrate(dsn)] == again
    assert missing(conn) == []


def test_who_else_migrates_is_named(dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "LONGEST_LOCK_S", 1)
    conn.execute("begin")
    conn.execute("lock table public.schema_migrations in share row exclusive mode")

    with pytest.raises(MigrationFailed, match=f"process {conn.info.backend_pid} .* holds ShareRowExclusiveLock"):
        migrate(dsn)


def test_a_table_of_migrations_that_is_anothers_is_refused(empty_dsn: str) -> None:
    other, least = f"other_{secrets.token_hex(4)}", f"least_{secrets.token_hex(4)}"
    names = {"other": sql.Identifier(other), "least": sql.Identifier(least)}
    as_least = (
        urlsplit(empty_dsn)._replace(netloc=f"{least}:x@{urlsplit(empty_dsn).netloc.rpartition('@')[2]}").geturl()
    )
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {other}; create role {least} login password 'x'").format(**names))
        try:
            admin.execute(
                "create table public.schema_migrations (version text primary key, checksum text, makes text[])"
            )
            admin.execute(sql.SQL("alter table public.schema_migrations owner to {other}").format(**names))
            admin.execute(sql.SQL("grant all on public.schema_migrations to public").format(**names))

            with pytest.raises(MigrationFailed, match=f"belongs to {other}"):
                migrate(as_least)
        finally:
            admin.execute(sql.SQL("drop owned by {other}, {least}; drop role {other}, {least}").format(**names))


def test_the_second_of_two_is_told_who_the_first_is(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "LONGEST_TURN_S", 1)

    with (
        only_one(dsn, "public.moves", "It is running already."),
        pytest.raises(
            Refusal, match=r"It is running already\.\nprocess \d+ \(postgres.*\) holds ShareUpdateExclusiveLock"
        ),
        only_one(dsn, "public.moves", "It is running already."),
    ):
        pass
    with only_one(dsn, "public.moves", "It is running already."):
        pass


def test_a_reader_keeps_nobody_from_being_the_only_one(dsn: str, stranger: str) -> None:
    with reading(stranger, "public.moves"), only_one(dsn, "public.moves", "It is running already."):
        pass


def test_who_may_only_read_can_not_be_the_only_one(stranger: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), only_one(stranger, "public.moves", "running"):
        pass


def test_a_simulation_is_told_who_is_in_its_way(dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "LONGEST_TURN_S", 1)

    with psycopg.connect(dsn) as other:
        other.execute("lock table autoscaler.node_configurations in share row exclusive mode")
        with pytest.raises(Refusal, match=r"holds ShareRowExclusiveLock on autoscaler\.node_configurations"):
            register(conn, ["sim-1"])
