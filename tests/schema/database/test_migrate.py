"""Migrations: all or nothing, once, and by `psql -f` as well; whatever is missing is told at once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pgmq.install import get_embedded_install_sql

from pgfleet.schema.database import catalog
from pgfleet.schema.database import migrate as program
from pgfleet.schema.database import missing as lacking
from pgfleet.schema.database.catalog import SqlFile, sql_files
from pgfleet.schema.database.made import StillNeeded
from pgfleet.schema.database.migrate import EditedMigration, MigrationFailed, NewerDatabase, migrate
from pgfleet.schema.database.missing import SchemaMissing, missing, verify
from worlds.database import by_psql, comparable, dump

Connection = psycopg.Connection[tuple[Any, ...]]
EVERY_VERSION = [file.version for file in sql_files()]


@pytest.fixture
def program_files(monkeypatch: pytest.MonkeyPatch) -> list[SqlFile]:
    """The files of the program, to be changed by a test."""
    files = sql_files()
    monkeypatch.setattr(program, "sql_files", lambda: files)
    monkeypatch.setattr(lacking, "sql_files", lambda: files)
    return files


def test_the_first_run_applies_every_file_and_the_second_none(empty_dsn: str) -> None:
    first = migrate(empty_dsn)
    before = dump(empty_dsn)

    second = migrate(empty_dsn)

    assert [file.version for file in first] == EVERY_VERSION
    assert second == []
    assert dump(empty_dsn) == before


def test_schema_comes_before_fixtures_in_the_order_of_names() -> None:
    folders = [version.split("/")[0] for version in EVERY_VERSION]

    assert folders == sorted(folders, reverse=True)
    assert EVERY_VERSION[:2] == ["schema/000_schema_migrations", "schema/001_users_and_keys"]


def test_two_runs_at_once_apply_every_file_once(empty_dsn: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        runs = list(threads.map(migrate, [empty_dsn] * 4))

    assert sorted(len(applied) for applied in runs) == [0, 0, 0, len(EVERY_VERSION)]


def test_files_run_twice_by_psql_make_the_same_database_as_migrate(dsn: str, empty_dsn: str) -> None:
    by_psql(empty_dsn, get_embedded_install_sql())
    for file in sql_files() * 2:
        by_psql(empty_dsn, file.text)
    # What each role may do is given when all is there.
    by_psql(empty_dsn, "select public.create_fleet_roles(), public.grant_fleet_roles()")

    assert comparable(dump(empty_dsn)) == comparable(dump(dsn))
    with psycopg.connect(empty_dsn) as conn:
        assert missing(conn) == []
    assert [file.version for file in migrate(empty_dsn)] == EVERY_VERSION


def test_an_edited_schema_file_is_refused_by_name(dsn: str, program_files: list[SqlFile]) -> None:
    program_files[2] = replace(program_files[2], text=program_files[2].text + "-- edited\n")
    program_files.append(SqlFile("schema/099_new", "create table public.novel ()"))

    with pytest.raises(EditedMigration, match=r"schema/002_reservations\.sql"):
        migrate(dsn)

    assert not exists(dsn, "public.novel")


def test_line_endings_are_no_edit(dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for file in sql_files():
        path = tmp_path / f"{file.version}.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.text.replace("\n", "\r\n").encode())
    monkeypatch.setattr(catalog, "files", lambda package: tmp_path / package.removeprefix("pgfleet."))
    monkeypatch.setattr(catalog, "_read", catalog._read.__wrapped__)  # noqa: SLF001  # keeps what it read

    assert migrate(dsn) == []


def test_an_edited_fixture_is_applied_again(dsn: str, conn: Connection, program_files: list[SqlFile]) -> None:
    place = EVERY_VERSION.index("fixtures/001_initial_gpu_types")
    before = program_files[place]
    program_files[place] = replace(before, text=before.text.replace("NVIDIA T4, 16 GB'", "NVIDIA T4'"))

    (applied,) = migrate(dsn)

    assert (applied.version, applied.again) == ("fixtures/001_initial_gpu_types", True)
    assert value(conn, "select description from public.gpu_types where gpu_type = 't4'") == "NVIDIA T4"
    assert migrate(dsn) == []


@pytest.mark.parametrize("way", ["migrate", "psql"])
def test_a_fixture_leaves_what_belongs_to_the_operator(
    dsn: str, conn: Connection, program_files: list[SqlFile], way: str
) -> None:
    edit(program_files, "fixtures/001_initial_gpu_types", "192, 2048, 16, 'NVIDIA H100", "192, 2048, 24, 'NVIDIA H100")
    conn.execute(
        "update public.gpu_types set total_cluster_gpus = 64, is_active = false, available_gpus = 3,"
        " last_availability_updated_by = 'a worker' where gpu_type = 'h100'"
    )

    if way == "migrate":
        migrate(dsn)
    else:
        by_psql(dsn, next(file.text for file in program_files if file.version == "fixtures/001_initial_gpu_types"))

    assert conn.execute(
        "select total_cluster_gpus, is_active, available_gpus, last_availability_updated_by, description"
        " from public.gpu_types where gpu_type = 'h100'"
    ).fetchall() == [(64, False, 3, "a worker", "NVIDIA H100, 80 GB")]


def test_a_new_type_of_a_fixture_has_what_the_fixture_says(
    dsn: str, conn: Connection, program_files: list[SqlFile]
) -> None:
    row = "('l40s', 'g6e.12xlarge', 4, 4, 48, 384, 12, 'NVIDIA L40S'),"
    edit(program_files, "fixtures/001_initial_gpu_types", "values\n", f"values\n  {row}\n")

    migrate(dsn)

    assert value(conn, "select total_cluster_gpus from public.gpu_types where gpu_type = 'l40s'") == 12
    assert value(conn, "select count(*) from autoscaler.audit_logs") == 0


IN_WORDS = "schema/144_silence"
NOVEL = """
create or replace function public.novel() returns integer language sql as 'select 1';
create or replace view public.novelties as select public.novel() as n;
"""


def edit(files: list[SqlFile], version: str, old: str, new: str) -> None:
    place = [file.version for file in files].index(version)
    assert old in files[place].text
    files[place] = replace(files[place], text=files[place].text.replace(old, new))


def test_an_edited_file_of_functions_is_applied_again(dsn: str, conn: Connection, program_files: list[SqlFile]) -> None:
    edit(program_files, IN_WORDS, "'%s minutes'", "'%s min'")

    (applied,) = migrate(dsn)

    assert (applied.version, applied.again) == (IN_WORDS, True)
    assert value(conn, "select public.in_words('5 minutes')") == "5 min"
    assert migrate(dsn) == []


def test_what_a_file_no_longer_makes_is_dropped(dsn: str, conn: Connection, program_files: list[SqlFile]) -> None:
    edit(program_files, IN_WORDS, "-- 144", f"{NOVEL}-- 144")
    migrate(dsn)
    assert value(conn, "select n from public.novelties") == 1

    edit(program_files, IN_WORDS, NOVEL, "")
    migrate(dsn)

    assert not exists(dsn, "public.novelties")
    assert value(conn, "select to_regprocedure('public.novel()')") is None


def test_a_function_with_other_arguments_replaces_the_one_before(
    dsn: str, conn: Connection, program_files: list[SqlFile]
) -> None:
    conn.execute("create function public.in_words(theirs text[]) returns text language sql as 'select null'")
    edit(program_files, IN_WORDS, "in_words(span interval)", "in_words(span interval, short boolean)")

    migrate(dsn)

    forms = "select oid::regprocedure::text from pg_proc where proname = 'in_words'"
    assert sorted(conn.execute(forms)) == [("in_words(interval,boolean)",), ("in_words(text[])",)]


def test_what_a_file_no_longer_makes_but_something_uses_is_refused_by_name(
    dsn: str, conn: Connection, program_files: list[SqlFile]
) -> None:
    edit(program_files, IN_WORDS, "-- 144", f"{NOVEL}-- 144")
    migrate(dsn)
    conn.execute("create view public.theirs as select * from public.novelties")
    edit(program_files, IN_WORDS, NOVEL, "")

    with pytest.raises(StillNeeded, match=r"view public\.theirs depends on view public\.novelties|public\.novelties"):
        migrate(dsn)

    assert exists(dsn, "public.novelties")


def test_a_newer_database_is_refused(dsn: str, conn: Connection) -> None:
    conn.execute("insert into public.schema_migrations (version) values ('schema/777_from_the_future')")

    with pytest.raises(NewerDatabase, match="schema/777_from_the_future"):
        migrate(dsn)


def test_versions_of_other_programs_are_theirs(dsn: str, conn: Connection) -> None:
    conn.execute("insert into public.schema_migrations (version) values ('20250101_their_own')")

    assert migrate(dsn) == []
    assert missing(conn) == []


def test_a_table_of_migrations_without_checksums_is_taken_over(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("create table public.schema_migrations (version text primary key, applied_at timestamptz)")

    applied = migrate(empty_dsn)

    assert [file.version for file in applied if not file.lacked] == EVERY_VERSION
    (mended,) = (each.version for each in applied if each.lacked)
    assert mended.startswith("column public.schema_migrations.applied_at is timestamp with time zone, not ")


def test_a_file_that_fails_applies_nothing_and_names_its_line(empty_dsn: str, program_files: list[SqlFile]) -> None:
    program_files.insert(3, SqlFile("schema/002_wrong", "select 1;\n\nselect from nowhere"))

    with pytest.raises(MigrationFailed, match=r'schema/002_wrong\.sql:3: relation "nowhere"'):
        migrate(empty_dsn)

    assert not exists(empty_dsn, "public.schema_migrations")


def test_queues_without_pgmq_say_how_to_install_it(empty_dsn: str) -> None:
    queues = next(file for file in sql_files() if file.version == "schema/007_pgmq_queues")

    with psycopg.connect(empty_dsn) as conn, pytest.raises(psycopg.Error) as refused:
        conn.execute(queues.text.encode())

    assert refused.value.sqlstate == "PF001"
    assert 'get_embedded_install_sql as s; print(s())" | psql "$DATABASE_URL"' in (
        refused.value.diag.message_hint or ""
    )


def test_everything_missing_is_in_one_list(conn: Connection, program_files: list[SqlFile]) -> None:
    conn.execute("alter table public.reservations drop column oom_count")
    conn.execute("drop table public.domain_mappings")
    conn.execute("drop view public.fleet_views")
    conn.execute("drop function public.create_queue")
    conn.execute("select pgmq.drop_queue('node_heartbeats')")
    program_files.append(SqlFile("schema/099_new", ""))

    assert missing(conn) == [
        "table public.domain_mappings",
        "column public.reservations.oom_count",
        "view public.fleet_views",
        "function public.create_queue",
        "queue node_heartbeats",
        "migration schema/099_new has not been applied",
    ]


def test_a_service_stops_with_the_whole_list(conn: Connection) -> None:
    conn.execute("alter table public.reservations drop column oom_count, drop column warnings_sent")

    with pytest.raises(SchemaMissing) as stopped:
        verify(conn)

    assert "column public.reservations.oom_count\n" in str(stopped.value)
    assert "column public.reservations.warnings_sent\n" in str(stopped.value)
    assert "pgfleet migrate" in str(stopped.value)


def test_an_empty_database_lacks_every_table_and_migration(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as conn:
        things = missing(conn)

    assert {f"migration {version} has not been applied" for version in EVERY_VERSION} <= set(things)
    assert {"table public.reservations", "function pgmq.send(text,jsonb)", "queue gpu_reservations"} <= set(things)


def exists(dsn: str, table: str) -> bool:
    with psycopg.connect(dsn) as conn:
        return value(conn, "select to_regclass(%s) is not null", table) is True


def value(conn: Connection, query: str, *parameters: object) -> Any:
    row = conn.execute(query.encode(), parameters or None).fetchone()
    return row and row[0]
