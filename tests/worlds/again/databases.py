"""Databases that tests use one after the other: to take back what a test did costs a fifth of making a new one."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]
# From this release on a session's counts of written rows are with the server when the session has ended.
COUNTS_FROM = 150_000

# What must be as it was where a test has written to these catalogs: it granted something, or replaced a function (the
# clock is one). Who wrote to another has made things of its own.
AS_IT_WAS = {
    "pg_proc": "select oid, pg_catalog.to_jsonb(p)::text from pg_catalog.pg_proc as p where oid >= 16384 order by oid",
    "pg_class": """
        select oid, relname, relkind, relfilenode, relowner, relacl, reloptions, relrowsecurity, relforcerowsecurity,
            relchecks
        from pg_catalog.pg_class where oid >= 16384 order by oid""",
    "pg_trigger": """
        select tgrelid, tgname, tgfoid, tgenabled from pg_catalog.pg_trigger where tgrelid >= 16384 order by oid""",
    "pg_attribute": """
        select attrelid, attnum, attname, atttypid, attacl, attnotnull, atthasdef, attoptions
        from pg_catalog.pg_attribute where attrelid >= 16384 order by attrelid, attnum""",
    "pg_namespace": "select * from pg_catalog.pg_namespace where nspname !~ '^pg_(toast_)?temp' order by oid",
    "pg_database": """
        select datdba, datacl, datconnlimit, datallowconn, datistemplate,
            (select array_agg(s.setconfig) from pg_catalog.pg_db_role_setting as s where s.setdatabase = d.oid)
        from pg_catalog.pg_database as d where datname = pg_catalog.current_database()""",
}
# These say the same once more.
IMPLIED = {"pg_depend", "pg_shdepend"}
SIZE = "select pg_database_size(current_database())"
CLOCK = "select pg_get_functiondef('public.fleet_now()'::regprocedure)"

SEQUENCES = "select format('%I.%I', schemaname, sequencename), start_value, last_value from pg_catalog.pg_sequences"
TABLES = """
select c.oid, format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r' and c.oid >= 16384 and n.nspname not like 'pg\\_%'"""
# Also by transactions that were rolled back.
WRITTEN = """
select oid, relname from pg_catalog.pg_class
where relkind in ('r', 'm') and not relisshared
    and pg_stat_get_tuples_inserted(oid) + pg_stat_get_tuples_updated(oid) + pg_stat_get_tuples_deleted(oid) > 0"""
OTHERS = """
select pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"""
# A database is emptied by deleting what tests wrote, up to here.
ROOM_BYTES = 50_000_000


@dataclass(frozen=True)
class Template:
    """What a migrated database holds: its tables by number, the rows that some have, and what its catalogs say."""

    tables: dict[int, str]
    rows: dict[int, bytes]
    sequences: dict[str, tuple[int, int | None]]
    clock: str
    catalogs: dict[str, str]
    size: int


def read_template(conn: Connection) -> Template:
    tables: dict[int, str] = dict(conn.execute(TABLES).fetchall())
    filled = {oid: _copied(conn, name) for oid, name in tables.items()}
    return Template(
        tables=tables,
        rows={oid: rows for oid, rows in filled.items() if rows},
        sequences=_sequences(conn),
        clock=_one(conn, CLOCK),
        catalogs={name: _digest(conn, name) for name in AS_IT_WAS},
        size=int(_one(conn, SIZE)),
    )


def _copied(conn: Connection, table: str) -> bytes:
    with conn.cursor() as cursor, cursor.copy(f"copy {table} to stdout".encode()) as rows:
        return b"".join(rows)


def _sequences(conn: Connection) -> dict[str, tuple[int, int | None]]:
    return {name: (start, last) for name, start, last in conn.execute(SEQUENCES)}


def _digest(conn: Connection, catalog: str) -> str:
    as_text = "select md5(string_agg(each::text, '')) from ({}) as each"
    return _one(conn, as_text.format(AS_IT_WAS[catalog]))


def _one(conn: Connection, statement: str) -> str:
    row = conn.execute(statement.encode()).fetchone()
    assert row is not None
    return str(row[0])


def make_database(server_dsn: str, template: str = "template1") -> str:
    name = f"test_{uuid.uuid4().hex[:16]}"
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    with psycopg.connect(server_dsn, autocommit=True) as admin:
        # Where there is a choice (from 15 on), the way that is quick without fsync.
        strategy = " strategy file_copy" if admin.info.server_version >= 150_000 else ""
        made = sql.SQL("create database {name} template {template}").format(**names)
        admin.execute(sql.Composed([made, sql.SQL(strategy)]))
    return urlsplit(server_dsn)._replace(path=f"/{name}").geturl()


def drop_database(server_dsn: str, dsn: str) -> None:
    name = sql.Identifier(urlsplit(dsn).path.removeprefix("/"))
    with psycopg.connect(server_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("drop database {} with (force)").format(name))


class Databases:
    """Copies of a migrated database, each lent to one test at a time."""

    def __init__(self, server_dsn: str, template: str) -> None:
        self.server_dsn = server_dsn
        self.template = template
        self.free: list[str] = []
        self.as_new: Template | None = None

    @contextmanager
    def lent(self) -> Iterator[str]:
        """One that is as if it were new."""
        dsn = self.free.pop() if self.free else self._make()
        try:
            yield dsn
        finally:
            if self._is_cleared(dsn):
                self.free.append(dsn)
            else:
                drop_database(self.server_dsn, dsn)

    def close(self) -> None:
        for dsn in self.free:
            drop_database(self.server_dsn, dsn)

    def _make(self) -> str:
        dsn = make_database(self.server_dsn, self.template)
        if self.as_new is None:
            with psycopg.connect(dsn, autocommit=True) as conn:
                if conn.info.server_version >= COUNTS_FROM:
                    self.as_new = read_template(conn)
        return dsn

    def _is_cleared(self, dsn: str) -> bool:
        """It is again as it was made; or the test did more than to write rows, and a new one has to take its place."""
        if self.as_new is None:
            return False
        try:
            with psycopg.connect(dsn, autocommit=True) as conn:
                return clear(conn, self.as_new)
        except psycopg.Error:
            return False


def clear(conn: Connection, as_new: Template) -> bool:
    while conn.execute(OTHERS).fetchall():
        time.sleep(0.001)
    if int(_one(conn, SIZE)) > as_new.size + ROOM_BYTES:
        return False
    written: dict[int, str] = dict(conn.execute(WRITTEN).fetchall())
    tables = written.keys() & as_new.tables.keys()
    catalogs = {name for oid, name in written.items() if oid not in tables} - IMPLIED | {"pg_database"}
    if "pg_proc" in catalogs:
        conn.execute(as_new.clock.encode())
    if not catalogs <= as_new.catalogs.keys() or any(_digest(conn, name) != as_new.catalogs[name] for name in catalogs):
        return False
    with conn.transaction():
        # Triggers that keep rows, or write more of them, are for those who work here.
        conn.execute("set local session_replication_role = replica")
        for oid in tables:
            conn.execute(f"delete from {as_new.tables[oid]}".encode())
        for oid in tables & as_new.rows.keys():
            with conn.cursor() as cursor, cursor.copy(f"copy {as_new.tables[oid]} from stdin".encode()) as rows:
                rows.write(as_new.rows[oid])
        for name, (start, last) in as_new.sequences.items() - _sequences(conn).items():
            conn.execute(
                "select setval(%s::text::regclass, %s, %s)", (name, start if last is None else last, last is not None)
            )
    # What this session wrote counts at once, and then nothing that was written so far.
    conn.execute("select pg_stat_force_next_flush()")
    conn.execute("select pg_stat_reset()")
    return True


# By server and template: who asks for a copy of one of these is lent one.
SHARED: dict[tuple[str, str], Databases] = {}


@contextmanager
def sharing(server_dsn: str, template: str) -> Iterator[None]:
    """Meanwhile copies of this database are used again."""
    SHARED[server_dsn, template] = Databases(server_dsn, template)
    try:
        yield
    finally:
        SHARED.pop((server_dsn, template)).close()
