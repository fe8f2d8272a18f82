"""Servers and databases for tests, gone afterwards, and what is in one as text."""

import os
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from pgfleet.console.local import embedded
from pgfleet.console.local.pginstall import find_programs
from pgfleet.schema.kinds import contracts
from worlds.again.databases import SHARED, drop_database, make_database

Connection = psycopg.Connection[tuple[Any, ...]]
TEMPORARY = "pgfleet-tests-"
# Where servers are. In memory a database is made and dropped in a fifth of the time; some machines have little of it.
ON_DISK, IN_MEMORY = Path("/tmp"), Path("/dev/shm")  # noqa: S108 - names of ours in there
MEMORY_BYTES = 4 << 30


@contextmanager
def fresh_database(server_dsn: str, template: str = "template1") -> Iterator[str]:
    """A database that nobody else uses, as if it were just made."""
    if shared := SHARED.get((server_dsn, template)):
        with shared.lent() as dsn:
            yield dsn
        return
    dsn = make_database(server_dsn, template)
    try:
        yield dsn
    finally:
        drop_database(server_dsn, dsn)


@contextmanager
def database_encoded(server_dsn: str, encoding: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:16]}"
    names = {"name": sql.Identifier(name), "encoding": sql.Literal(encoding)}
    with psycopg.connect(server_dsn, autocommit=True) as admin:
        admin.execute(
            sql.SQL("create database {name} encoding {encoding} locale 'C' template template0").format(**names)
        )
        try:
            yield urlsplit(server_dsn)._replace(path=f"/{name}").geturl()
        finally:
            admin.execute(sql.SQL("drop database {name} with (force)").format(**names))


# What a server may leave undone where nobody looks for its data after a crash.
NOT_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


@contextmanager
def quick_server() -> Iterator[str]:
    """A temporary server that waits for no disk: databases are made and dropped in a tenth of the time."""
    has_room = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free >= MEMORY_BYTES
    with temporary_server(IN_MEMORY if has_room else ON_DISK) as dsn:
        with psycopg.connect(dsn, autocommit=True) as admin:
            # Read with the others: who writes statistics into a catalog in the midst of a test has it begin anew.
            admin.execute("alter system set autovacuum_naptime = '1d'")
        configure(dsn, "off")
        yield dsn


@contextmanager
def durable(dsn: str) -> Iterator[None]:
    """A server that is durable meanwhile, as one in production is."""
    quick = setting(dsn, "fsync") == "off"
    if quick:
        configure(dsn, "on")
    try:
        yield
    finally:
        if quick:
            configure(dsn, "off")


def configure(dsn: str, value: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as admin:
        for name in NOT_DURABLE:
            admin.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), value))
        admin.execute("select pg_reload_conf()")
    deadline = time.monotonic() + 20
    while setting(dsn, NOT_DURABLE[-1]) != value:
        assert time.monotonic() < deadline, "the server does not read its settings"
        time.sleep(0.01)


def setting(dsn: str, name: str) -> str:
    """As a new connection has it."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        row = conn.execute("select current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


@contextmanager
def temporary_server(where: Path = ON_DISK) -> Iterator[str]:
    """An embedded server that is gone afterwards; also removes those of sessions that were killed."""
    for left in (folder for place in (ON_DISK, IN_MEMORY) for folder in place.glob(f"{TEMPORARY}*")):
        if not Path("/proc", left.name.split("-")[2]).exists() and Path("/proc/self").exists():
            # Of several sessions that find it, the one that gives it its own name removes it.
            with suppress(FileNotFoundError):
                remove_servers(left.rename(left.with_name(f"{TEMPORARY}{os.getpid()}-{left.name.split('-')[-1]}")))
    with temporary_folder(where) as folder:
        yield embedded.start(folder / "data")


@contextmanager
def temporary_folder(where: Path = ON_DISK) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{os.getpid()}-", dir=where))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        remove_servers(folder)


def remove_servers(folder: Path) -> None:
    for data in folder.rglob("PG_VERSION"):
        if (data.parent / "postgresql.conf").exists():
            embedded.stop(data.parent)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def container(image: str) -> Iterator[str]:
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - only where Docker is asked for

    with PostgresContainer(image, driver=None) as server:
        yield server.get_connection_url()


def dump(dsn: str) -> str:
    """The whole database as SQL, but for when and how files were recorded."""
    return run_program("pg_dump", "--restrict-key=same", "--exclude-table-data=public.schema_migrations", dsn)


def comparable(text: str) -> str:
    """Without times and transactions, and the rows of a table in one order: an update moves a row within its table.

    And without the numbers by which some releases (15.20) tell changed columns from others.
    """
    unnumbered = re.sub(r"(?m)^ALTER TABLE ONLY \S+ ALTER COLUMN \S+ SET \(pg_attver=\d+\);\n", "", text)
    timeless = re.sub(r"\d{4}-\d\d-\d\d [\d:.]+\+00", "<time>", unnumbered)
    # Of the history of moves.
    timeless = re.sub(r"(?m)(\t<time>\t\d+)\t\d+(\t[\w\\]+)$", r"\1\t<transaction>\2", timeless)
    return re.sub(
        r"(?ms)^(COPY [^\n]* FROM stdin;\n)(.*?)^(\\\.\n)",
        lambda table: table[1] + "".join(sorted(table[2].splitlines(keepends=True))) + table[3],
        timeless,
    )


def by_psql(dsn: str, text: str) -> None:
    run_program("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", dsn, text=text)


def run_program(name: str, *arguments: str, text: str = "") -> str:
    program = find_programs(Path("/tmp")).folder / name  # noqa: S108 - nothing is put there
    done = subprocess.run([program, *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_worker_role(admin: Connection, kind: str) -> None:
    """As somebody who may make roles does it for a migration that may not."""
    for role, more in (("pgfleet_worker", ""), (f"pgfleet_worker_{kind}", "in role pgfleet_worker")):
        if not admin.execute("select from pg_roles where rolname = %s", (role,)).fetchall():
            admin.execute(f"create role {role} nologin {more}".encode())


@contextmanager
def owner_and_worker(server_dsn: str, *new_kinds: str) -> Iterator[tuple[str, str]]:
    """A database with nothing in it: the DSN of its owner, who may make roles, and of a worker's of every kind."""
    name, password = f"least_{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    owner, worker = f"{name}_owner", f"{name}_worker"
    server = urlsplit(server_dsn)

    def as_login(role: str) -> str:
        host = server.netloc.rpartition("@")[2]
        return server._replace(netloc=f"{role}:{password}@{host}", path=f"/{name}").geturl()

    with psycopg.connect(server_dsn, autocommit=True) as admin:
        admin.execute(f"create role {owner} login createrole nosuperuser password '{password}'")
        admin.execute(f"create role {worker} login nosuperuser password '{password}'")
        admin.execute(f"create database {name} owner {owner}")
        for kind in (*contracts(), *new_kinds):
            make_worker_role(admin, kind)
            admin.execute(f"grant pgfleet_worker_{kind} to {worker}")
        try:
            yield as_login(owner), as_login(worker)
        finally:
            admin.execute(f"drop database {name} with (force)")
            admin.execute(f"reassign owned by {owner} to current_user")
            admin.execute(f"drop owned by {owner}, {worker}")
            admin.execute(f"drop role {worker}")
            admin.execute(f"drop role {owner}")
