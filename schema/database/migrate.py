"""Brings a database to what the program needs."""

from dataclasses import dataclass
from typing import Any

import psycopg
from pgmq.install import get_embedded_install_sql

from pgfleet.schema.database import made
from pgfleet.schema.database.before import is_of_before, made_before
from pgfleet.schema.database.catalog import SqlFile, is_ours, sql_files
from pgfleet.schema.database.dsn import connect, redact
from pgfleet.schema.errors import FleetError

Connection = psycopg.Connection[tuple[Any, ...]]

# A migration may take longer than a service's statement, but must not queue for long behind one: whoever
# comes after it would wait as well.
_SET_LIMITS = "set local statement_timeout = 0; set local lock_timeout = '60s'"
_WAIT_FOR_OTHERS = "select pg_advisory_xact_lock(hashtext('pgfleet.migrate'))"
_RECORDED = "select version, checksum, makes from public.schema_migrations"
_RECORD = """
  insert into public.schema_migrations (version, checksum, makes) values (%s, %s, %s)
  on conflict (version) do update set checksum = excluded.checksum, makes = excluded.makes, applied_at = now()
"""
_FORGET = "delete from public.schema_migrations where version = any(%s)"
_RLS_IS_ON = """
  select exists (select from pg_class where oid = to_regclass('public.reservations') and relrowsecurity)
"""
_SWITCH_RLS = "select public.switch_row_level_security(%s)"
_HAS_PGMQ = "select to_regprocedure('pgmq.create(text)') is not null"
_OFFERS_PGMQ = "select exists (select from pg_available_extensions where name = 'pgmq')"


class EditedMigration(FleetError):
    """A schema file was changed after it was applied."""


class NewerDatabase(FleetError):
    """The database has seen files that this program does not have."""


class MigrationFailed(FleetError):
    """PostgreSQL refused a file; nothing was applied."""


@dataclass(frozen=True)
class Applied:
    """A file that was applied; `again` for one that may change, and did since the last time."""

    version: str
    again: bool


def migrate(dsn: str, *, rls: bool | None = None) -> list[Applied]:
    """Apply every file that is due, all in one transaction: all or nothing. None due: an empty list.

    Any number of callers at once, also through a transaction pooler: the lock is the transaction's. `rls` switches
    row level security on or off; None leaves it as it is, and covers what is new where it is on. A file from 100 on,
    or a fixture, that changed is applied again; any other that changed is refused.

    Raises:
        EditedMigration, NewerDatabase, MigrationFailed, StillNeeded, Unreachable: why, and that nothing was applied.
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


def _bring_up(conn: Connection, files: list[SqlFile]) -> list[Applied]:
    _run(conn, files[0])
    seen = _seen(conn)
    made_by = {version: set(makes) for version, (_, makes) in seen.items()}
    recorded = {version: checksum for version, (checksum, _) in seen.items()}
    if is_of_before(recorded, files):
        conn.execute(_FORGET, (list(recorded),))
        recorded, made_by = {}, {file.version: made_before() for file in files}
    _refuse_newer(files, recorded)
    _refuse_edited(files, recorded)
    due = [file for file in files if file.version not in recorded or _differs(file, recorded)]
    _apply(conn, due, made_by)
    return [Applied(file.version, again=file.version in recorded) for file in due]


def _apply(conn: Connection, due: list[SqlFile], made_by: dict[str, set[str]]) -> None:
    """Functions and views that a file made the last time, and that no file makes now, are dropped."""
    if due:
        _put_pgmq_in_place(conn)
    for file in due:
        _run(conn, file)
        conn.execute(_RECORD, (file.version, file.checksum, made.written(conn, file)))
    before = {thing for file in due for thing in made_by.get(file.version, ())}
    made.drop(conn, before - {thing for _, makes in _seen(conn).values() for thing in makes})


def _seen(conn: Connection) -> dict[str, tuple[str | None, list[str]]]:
    """The checksum of each file that was applied, and what it made."""
    rows = conn.execute(_RECORDED).fetchall()
    return {version: (checksum, makes or []) for version, checksum, makes in rows if is_ours(version)}


def _secure(conn: Connection, *, rls: bool | None, changed: bool) -> None:
    if rls is None and (not changed or not _is_true(conn, _RLS_IS_ON)):
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
    edited = [file.version for file in files if not file.may_change and _differs(file, recorded)]
    if edited:
        raise EditedMigration(
            f"Changed after it was applied: {', '.join(f'{version}.sql' for version in edited)}.\n"
            "Nothing was applied. Restore what was released, and put the change into a new numbered file."
        )


def _put_pgmq_in_place(conn: Connection) -> None:
    if _is_true(conn, _HAS_PGMQ):
        return
    if _is_true(conn, _OFFERS_PGMQ):
        conn.execute("create extension pgmq")
    else:
        _run(conn, SqlFile("PGMQ", get_embedded_install_sql()))


def _is_true(conn: Connection, question: Any) -> bool:
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
