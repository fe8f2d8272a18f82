"""A PostgreSQL server for a run of tests, with a migrated database that each test gets a copy of."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from psycopg.sql import SQL, Identifier

from pgfleet.console.local import embedded
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.database.sessions import connect

PREFIX = "pgfleet-testing-"
PLACE = Path("/tmp")  # noqa: S108 - where embedded.temporary makes them
# Nobody looks for a test's data after a crash; so databases are made and dropped in a tenth of the time.
NOT_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


@contextmanager
def server() -> Iterator[str]:
    """A server that ends with the block. What is given is the connection string of its migrated database."""
    remove_left()
    with embedded.temporary(f"{PREFIX}{os.getpid()}-") as data_dir:
        dsn = embedded.start(data_dir)
        with connect(dsn, autocommit=True) as admin:
            for name in NOT_DURABLE:
                admin.execute(SQL("alter system set {} = off").format(Identifier(name)))
            admin.execute("select pg_reload_conf()")
        migrate(dsn)
        yield dsn


@contextmanager
def database(template: str) -> Iterator[str]:
    """A copy of the database with this connection string, to which nobody is connected; gone with the block."""
    place, name = urlsplit(template), f"test_{uuid.uuid4().hex[:12]}"
    names = {"name": Identifier(name), "template": Identifier(place.path.removeprefix("/"))}
    with connect(place._replace(path="/postgres").geturl(), autocommit=True) as admin:
        admin.execute(SQL("create database {name} template {template}").format(**names))
        try:
            yield place._replace(path=f"/{name}").geturl()
        finally:
            admin.execute(SQL("drop database {name} with (force)").format(**names))


def remove_left() -> None:
    """Servers of runs that were killed: their folders are named after a process that is there no longer."""
    for folder in PLACE.glob(f"{PREFIX}*"):
        process = folder.name.removeprefix(PREFIX).partition("-")[0]
        if process.isdigit() and not _runs(int(process)):
            embedded.stop(folder / "data")
            shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
