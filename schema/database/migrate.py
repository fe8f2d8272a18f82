"""Brings a database to what the program needs."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from pgfleet.schema.database import made
from pgfleet.schema.database.before import is_of_before, made_before
from pgfleet.schema.database.catalog import SqlFile, is_ours, sql_files
from pgfleet.schema.database.dsn import redact
from pgfleet.schema.database.holders import NOT_LOCKED, SQL, WITHOUT_WRITERS, holders, let_go_and_try_again, lock_table
from pgfleet.schema.database.lacks import OF_RIGHTS, lacks
from pgfleet.schema.database.mend import mend, take_needless_rights
from pgfleet.schema.database.queueing import pgmq
from pgfleet.schema.database.sessions import connect, open_session
from pgfleet.schema.database.things import there
from pgfleet.schema.errors import FleetError

Connection = psycopg.Connection[tuple[Any, ...]]

# A migration may take longer than a service's statement, but must not queue for long behind one: others would, too.
_SET_LIMITS = "select set_config('statement_timeout', '0', true), set_config('lock_timeout', %s, true)"
LONGEST_WAIT_S = 0.5
LONGEST_LOCK_S = 60
MIGRATOR = "pgfleet_migrator"
_SET_ROLE = "select set_config('role', %s, true)"
_RECORD_IS_THERE = """
  select pg_has_role(c.relowner, 'member'), pg_get_userbyid(c.relowner), (
    select count(*) from pg_attribute a where a.attrelid = c.oid and a.attname in ('checksum', 'makes')) = 2
  from pg_class c where c.oid = to_regclass('public.schema_migrations')
"""
_RECORDED = "select version, checksum, makes from public.schema_migrations"
_RECORD = """
  insert into public.schema_migrations (version, checksum, makes) values (%s, %s, %s)
  on conflict (version) do update set checksum = excluded.checksum, makes = excluded.makes, applied_at = now()
"""
_FORGET = "delete from public.schema_migrations where version = any(%s)"
_RLS_IS_ON = """
  select exists (select from pg_class where oid = to_regclass('public.reservations') and relrowsecurity)
"""
_LACKING_ROLES = "select statement from public.lacking_roles"
# Where only the first files are applied, nobody knows yet which roles there are.
_KNOWS_RIGHTS = "select to_regprocedure('public.given_rights()') is not null"
_GRANT = "select public.grant_fleet_roles()"
_NOT_MADE = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.DuplicateObject,
    psycopg.errors.UniqueViolation,
    psycopg.errors.UndefinedObject,
)
_SWITCH_RLS = "select public.switch_row_level_security(%s)"


class EditedMigration(FleetError):
    """A schema file was changed after it was applied."""


class NewerDatabase(FleetError):
    """The database has seen files that this program does not have."""


class MigrationFailed(FleetError):
    """PostgreSQL refused a file; nothing was applied."""


class _MadeMeanwhileError(Exception):
    """Another run made the first table; it has ended by now."""


@dataclass(frozen=True)
class Applied:
    """What was applied: a file by its version, or something that the database lacked although its file was applied.

    Attributes:
        again: it was applied before; a file that may change did, since the last time.
        lacked: it is no file.
    """

    version: str
    again: bool
    lacked: bool = False


def migrate(dsn: str, *, rls: bool | None = None) -> list[Applied]:
    """Apply every file that is due, and make what is lacking all the same, in one transaction: all or nothing.

    Any number of callers at once, also through a transaction pooler: the lock is the transaction's. No lock is waited
    for longer than half a second; then all is undone and tried again, for a minute; then who holds it is named. `rls`
    switches row level security on or off; None leaves it as it is, and covers what is new where it is on. A file from
    100 on, or a fixture, that changed is applied again, but for what is as it has to be and would be locked (`made`);
    any other that changed is refused. Nothing to do: an empty list.

    Raises:
        EditedMigration, NewerDatabase, MigrationFailed, NotMended, StillNeeded, Unreachable: why, and that nothing
            was applied.
    """
    try:
        return let_go_and_try_again(partial(_migrate, dsn, rls=rls), LONGEST_LOCK_S)
    except _MadeMeanwhileError:
        return migrate(dsn, rls=rls)
    except NOT_LOCKED as error:
        raise MigrationFailed(_who_holds(dsn)) from error
    except psycopg.Error as error:
        raise MigrationFailed(
            f"Nothing was applied: {redact(str(error)).strip()}\nRun `pgfleet migrate` again."
        ) from error


def _migrate(dsn: str, *, rls: bool | None) -> list[Applied]:
    # A table may be rewritten, and that has no time limit.
    with connect(dsn, longest_s=None) as conn:
        conn.execute(_SET_LIMITS, (f"{LONGEST_WAIT_S * 1000:.0f}ms",))
        files = sql_files()
        _act_as_owner(conn)
        _begin(conn, files[0])
        lost = _wrong_rights(conn, files)
        done = [*_bring_up(conn, files), *_mended(conn, files), *lost]
        _secure(conn, rls=rls, changed=bool(done))
        if done and _is_true(conn, _KNOWS_RIGHTS):
            take_needless_rights(conn)
        return done


def lacking_roles(conn: Connection) -> list[str]:
    """What makes the roles that are not there, or are not members of each other as they should be."""
    return [f"{statement};" for (statement,) in conn.execute(_LACKING_ROLES)]


def owner_of_before(conn: Connection) -> str:
    """What to do where the login was let into pgfleet_migrator, and the tables are another's; empty elsewhere."""
    owner, is_let, _ = _owners(conn)
    if owner in (None, MIGRATOR) or not is_let:
        return ""
    return (
        f"All is {owner}'s and not {MIGRATOR}'s. To give it to that role, let {owner} migrate to this version; then, "
        f"as a superuser, or as {owner} once it is in {MIGRATOR}:\n  select public.give_to_migrator();"
    )


def _act_as_owner(conn: Connection) -> None:
    """What members of pgfleet_migrator make is the role's, so that any of them may migrate."""
    owner, is_let, may_act = _owners(conn)
    if not (may_act if owner == MIGRATOR else is_let and owner is None):
        return
    conn.execute(_SET_ROLE, (MIGRATOR,))
    lacks = [f"  {statement}" for (statement,) in conn.execute(SQL["owner_lacks"])]
    if lacks:
        raise MigrationFailed(
            f"permission denied: {MIGRATOR}, which is to own what is made, lacks rights here. Nothing was applied. As "
            "the owner of the database, or a superuser:\n" + "\n".join(lacks)
        )


def _owners(conn: Connection) -> tuple[str | None, bool, bool]:
    return conn.execute(SQL["owner_and_login"], {"role": MIGRATOR}).fetchone() or (None, False, False)


def _begin(conn: Connection, record: SqlFile) -> None:
    """One at a time, by a lock on the table of what was applied, which only its owner can take."""
    row = conn.execute(_RECORD_IS_THERE).fetchone()
    is_ours, owner, is_whole = row or (True, None, False)
    if not is_ours:
        raise MigrationFailed(
            f"permission denied: public.schema_migrations belongs to {owner}, and only its owner migrates. Nothing was "
            f"applied. Log in as a member of {owner}; if that is nobody of yours, drop the table. "
            + owner_of_before(conn)
        )
    if not is_whole:
        try:
            conn.execute(record.text.encode())
        except psycopg.errors.UniqueViolation as error:
            raise _MadeMeanwhileError from error
    lock_table(conn, "public.schema_migrations", WITHOUT_WRITERS)


def _who_holds(dsn: str) -> str:
    """Asked by another session: the one that waited is over, and holds nothing any more."""
    with open_session(dsn, autocommit=True) as conn:
        return (
            f"Nothing was applied: somebody held a table for {LONGEST_LOCK_S} seconds that had to be changed.\n"
            f"{holders(conn) or 'They have let go of it by now.'}\nRun `pgfleet migrate` again when they are done."
        )


def _bring_up(conn: Connection, files: list[SqlFile]) -> list[Applied]:
    seen = _seen(conn)
    made_by = {version: set(makes) for version, (_, makes) in seen.items()}
    recorded = {version: checksum for version, (checksum, _) in seen.items()}
    if is_of_before(recorded, files):
        conn.execute(_FORGET, (list(recorded),))
        recorded, made_by = {}, {file.version: made_before() for file in files}
    _refuse_newer(files, recorded)
    _refuse_edited(files, recorded)
    due = [file for file in files if file.version not in recorded or _differs(file, recorded)]
    _apply(conn, files, due, made_by)
    return [Applied(file.version, again=file.version in recorded) for file in due]


def _mended(conn: Connection, files: list[SqlFile]) -> list[Applied]:
    return [Applied(thing, again=True, lacked=True) for thing in mend(conn, files)]


def _wrong_rights(conn: Connection, files: list[SqlFile]) -> list[Applied]:
    """Of what is there already: what is made now has none yet. All are given and taken in the end (`_secure`)."""
    wrong = [lack for lack in lacks(conn, files) if lack.kind in OF_RIGHTS]
    return [Applied(str(lack), again=True, lacked=True) for lack in wrong]


def _apply(conn: Connection, program: list[SqlFile], due: list[SqlFile], made_by: dict[str, set[str]]) -> None:
    """Functions and views that a file made the last time, and that no file makes now, are dropped."""
    if due:
        _run(conn, SqlFile("PGMQ", pgmq(conn)))
    shorter = made.without_what_is_there(due, program, there(conn, with_rows=False)) if due else []
    for file, short in zip(due, shorter, strict=True):
        _run(conn, short)
        conn.execute(_RECORD, (file.version, file.checksum, made.written(conn, file)))
    before = {thing for file in due for thing in made_by.get(file.version, ())}
    made.drop(conn, before - {thing for _, makes in _seen(conn).values() for thing in makes})


def _seen(conn: Connection) -> dict[str, tuple[str | None, list[str]]]:
    """The checksum of each file that was applied, and what it made."""
    rows = conn.execute(_RECORDED).fetchall()
    return {version: (checksum, makes or []) for version, checksum, makes in rows if is_ours(version)}


def _secure(conn: Connection, *, rls: bool | None, changed: bool) -> None:
    """Roles that can't be made are left to somebody who may (`lacking_roles`): without them only the owner works."""
    if not _is_true(conn, _KNOWS_RIGHTS):
        return
    lacked = lacking_roles(conn)
    if lacked:
        _make_roles(conn, lacked)
    if rls is None and not changed and not _is_true(conn, SQL["a_role_without_rights"]):
        return
    if rls is None and not _is_true(conn, _RLS_IS_ON):
        conn.execute(_GRANT)
        return
    try:
        conn.execute(_SWITCH_RLS, (rls is not False,))
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationFailed(
            f"Row level security: {error.diag.message_primary}\nNothing was applied. The roles are made by somebody "
            "who may (CREATEROLE):\n" + "\n".join(lacked)
        ) from error


def _make_roles(conn: Connection, statements: list[str]) -> None:
    """As the login, as far as that may. Roles are the server's: another database may just have made one."""
    role = conn.execute("select current_setting('role')").fetchone()
    conn.execute(_SET_ROLE, ("none",))
    for statement in statements:
        with suppress(*_NOT_MADE), conn.transaction():
            conn.execute(statement.encode())
    conn.execute(_SET_ROLE, role)


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


def _is_true(conn: Connection, question: Any) -> bool:
    row = conn.execute(question).fetchone()
    return row is not None and bool(row[0])


def _run(conn: Connection, file: SqlFile) -> None:
    """Without parameters, so that a file may hold many statements and any %."""
    try:
        conn.execute(file.text.encode())
    except NOT_LOCKED:
        raise
    except psycopg.Error as error:
        hint = f"\n{error.diag.message_hint}" if error.diag.message_hint else ""
        raise MigrationFailed(
            f"{file.place(error.diag.statement_position)}: {error.diag.message_primary or error}{hint}\n"
            "Nothing was applied. Put right what it says, then run `pgfleet migrate` again."
        ) from error
