"""Brings a database to what the program needs, and says what one lacks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from pgmq.install import get_embedded_install_sql

from pgfleet.schema.database.catalog import FUNCTIONS, QUEUES, SqlFile, is_ours, sql_files
from pgfleet.schema.database.dsn import connect, redact
from pgfleet.schema.errors import FleetError
from pgfleet.schema.tables import metadata, schema_migrations

Connection = psycopg.Connection[tuple[Any, ...]]

# A migration may take longer than a service's statement, but must not queue for long behind one: whoever
# comes after it would wait as well.
_SET_LIMITS = "set local statement_timeout = 0; set local lock_timeout = '60s'"
_WAIT_FOR_OTHERS = "select pg_advisory_xact_lock(hashtext('pgfleet.migrate'))"
_RECORDED = "select version, checksum from public.schema_migrations"
_RECORD = """
  insert into public.schema_migrations (version, checksum) values (%s, %s)
  on conflict (version) do update set checksum = excluded.checksum, applied_at = now()
"""
_RLS_IS_ON = """
  select exists (select from pg_class where oid = to_regclass('public.reservations') and relrowsecurity)
"""
_SWITCH_RLS = "select public.switch_row_level_security(%s)"
_HAS_PGMQ = "select to_regprocedure('pgmq.create(text)') is not null"
_OFFERS_PGMQ = "select exists (select from pg_available_extensions where name = 'pgmq')"
_EXISTING = """
  select 'table', n.nspname || '.' || c.relname
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any(%(schemas)s) and c.relkind in ('r', 'p', 'v', 'm', 'f')
  union all
  select 'column', n.nspname || '.' || c.relname || '.' || a.attname
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any(%(schemas)s) and a.attnum > 0 and not a.attisdropped
  union all
  select 'function', n.nspname || '.' || p.proname
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = any(%(schemas)s)
"""


class EditedMigration(FleetError):
    """A schema file was changed after it was applied."""


class NewerDatabase(FleetError):
    """The database has seen files that this program does not have."""


class MigrationFailed(FleetError):
    """PostgreSQL refused a file; nothing was applied."""


class SchemaMissing(FleetError):
    """The database lacks something that the program needs; the message lists all of it."""


@dataclass(frozen=True)
class Applied:
    """A file that was applied; `again` for a fixture that was edited since the last time."""

    version: str
    again: bool


def migrate(dsn: str, *, rls: bool | None = None) -> list[Applied]:
    """Apply every file that is due, all in one transaction: all or nothing. None due: an empty list.

    Any number of callers at once, also through a transaction pooler: the lock is the transaction's. `rls` switches
    row level security on or off; None leaves it as it is, and covers new tables where it is on.

    Raises:
        EditedMigration, NewerDatabase, MigrationFailed, Unreachable: why, and that nothing was applied.
    """
    try:
        with connect(dsn) as conn:
            conn.execute(_SET_LIMITS)
            conn.execute(_WAIT_FOR_OTHERS)
            applied = _bring_up(conn, sql_files())
            _secure(conn, rls=rls, changed=bool(applied))
            return applied
    except psycopg.Error as error:
        raise MigrationFailed(
            f"Nothing was applied: {redact(str(error)).strip()}\nRun `pgfleet migrate` again."
        ) from error


def missing(conn: Connection) -> list[str]:
    """Everything that the program needs and this database lacks: `column public.disks.status`.

    Files that were applied with psql leave no record; then what they make is the proof.
    """
    schemas = {name.split(".")[0] for name in (*metadata.tables, *FUNCTIONS)} | {"pgmq"}
    existing = set(conn.execute(_EXISTING, {"schemas": sorted(schemas)}).fetchall())
    things = [f"{kind} {name}" for kind, name in _needed(existing) if (kind, name) not in existing]
    things += [f"queue {queue}" for queue in QUEUES if ("table", f"pgmq.q_{queue}") not in existing]

    recorded = set()
    if ("table", schema_migrations.fullname) in existing:
        recorded = {version for version, _ in conn.execute(_RECORDED)}
    if things or any(map(is_ours, recorded)):
        pending = [file.version for file in sql_files() if file.version not in recorded]
        things += [f"migration {version} has not been applied" for version in pending]
    return things


def verify(conn: Connection) -> None:
    """Services call this at start: they never make the schema.

    Raises:
        SchemaMissing: lists everything that is missing.
    """
    things = missing(conn)
    if things:
        lines = "\n".join(f"  {thing}" for thing in things)
        raise SchemaMissing(f"The database lacks:\n{lines}\nRun `pgfleet migrate`, then start again.")


def _needed(existing: set[tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
    """Tables, columns, functions. Of a table that is not there, its name says enough."""
    for name in metadata.tables:
        yield "table", name
    for name, table in metadata.tables.items():
        if ("table", name) in existing:
            yield from (("column", f"{name}.{column.name}") for column in table.columns)
    for name in FUNCTIONS:
        yield "function", name


def _bring_up(conn: Connection, files: list[SqlFile]) -> list[Applied]:
    _run(conn, files[0])
    recorded = {version: checksum for version, checksum in conn.execute(_RECORDED) if is_ours(version)}
    _refuse_newer(files, recorded)
    _refuse_edited(files, recorded)
    due = [file for file in files if file.version not in recorded or _differs(file, recorded)]
    if due:
        _put_pgmq_in_place(conn)
    for file in due:
        _run(conn, file)
        conn.execute(_RECORD, (file.version, file.checksum))
    return [Applied(file.version, again=file.version in recorded) for file in due]


def _secure(conn: Connection, *, rls: bool | None, changed: bool) -> None:
    if rls is None and (not changed or not _tells(conn, _RLS_IS_ON)):
        return
    try:
        conn.execute(_SWITCH_RLS, (rls is not False,))
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationFailed(
            f"Row level security: {error.diag.message_primary}\nNothing was applied. The roles are made by somebody "
            "who may (CREATEROLE): select public.create_fleet_roles(). Then run this again."
        ) from error


def _differs(file: SqlFile, recorded: dict[str, str | None]) -> bool:
    """Whether a file changed since it was recorded; one recorded without a checksum is taken as it is."""
    return recorded.get(file.version) not in (None, file.checksum)


def _refuse_newer(files: list[SqlFile], recorded: dict[str, str | None]) -> None:
    unknown = sorted(recorded.keys() - {file.version for file in files})
    if unknown:
        raise NewerDatabase(
            f"The database is newer than this program: it has seen {', '.join(unknown)}.\n"
            "Run the version of pgfleet that brought it there, or a later one."
        )


def _refuse_edited(files: list[SqlFile], recorded: dict[str, str | None]) -> None:
    edited = [file.version for file in files if not file.is_fixture and _differs(file, recorded)]
    if edited:
        raise EditedMigration(
            f"Changed after it was applied: {', '.join(f'{version}.sql' for version in edited)}.\n"
            "Nothing was applied. Restore what was released, and put the change into a new numbered file."
        )


def _put_pgmq_in_place(conn: Connection) -> None:
    if _tells(conn, _HAS_PGMQ):
        return
    if _tells(conn, _OFFERS_PGMQ):
        conn.execute("create extension pgmq")
    else:
        _run(conn, SqlFile("PGMQ", get_embedded_install_sql()))


def _tells(conn: Connection, question: Any) -> bool:
    row = conn.execute(question).fetchone()
    return row is not None and bool(row[0])


def _run(conn: Connection, file: SqlFile) -> None:
    """Without parameters, so that a file may hold many statements and any %."""
    try:
        conn.execute(file.text.encode())
    except psycopg.Error as error:
        hint = f"\n{error.diag.message_hint}" if error.diag.message_hint else ""
        raise MigrationFailed(
            f"{file.version}{_line(file, error)}: {error.diag.message_primary or error}{hint}\n"
            "Nothing was applied. Put right what it says, then run `pgfleet migrate` again."
        ) from error


def _line(file: SqlFile, error: psycopg.Error) -> str:
    if error.diag.statement_position is None:
        return ""
    before = file.text[: int(error.diag.statement_position) - 1]
    return f".sql:{before.count(chr(10)) + 1}"
