"""What the program needs and a database lacks, or has otherwise: one list for migrate, doctor and services."""

from typing import Any

import psycopg

from pgfleet.schema.database import things
from pgfleet.schema.database.catalog import is_ours, sql_files
from pgfleet.schema.database.lacks import Lack, absent, lacks, recorded
from pgfleet.schema.errors import FleetError

Connection = psycopg.Connection[tuple[Any, ...]]


class SchemaMissing(FleetError):
    """The database lacks something that the program needs; the message lists all of it."""


def missing(conn: Connection) -> list[str]:
    """The whole list in words: `column public.disks.status`, `trigger public.disks.log_moves is disabled`."""
    lacking = [str(lack) for lack in lacks(conn, sql_files())]
    return lacking + pending(conn, whole=not lacking)


def missing_at_a_glance(conn: Connection) -> list[str]:
    """What commands of people look for, each time: nothing where the record says that all files were applied.

    To look for each thing costs more than most commands do; one that misses something shows that by itself.
    """
    applied = recorded(conn)
    return [] if all(file.version in applied for file in sql_files()) else missing_by_name(conn)


def missing_by_name(conn: Connection) -> list[str]:
    """Whether what commands of people read and write is there at all."""
    there = things.there(conn, with_rows=False)
    # A queue by its table: PGMQ's own list of them is not for everybody's eyes.
    lacking = [
        str(lack) for lack in absent(there) if lack.kind != "queue" or ("table", f"pgmq.q_{lack.name}") not in there
    ]
    return lacking + pending(conn, whole=not lacking)


def pending(conn: Connection, *, whole: bool) -> list[str]:
    """Files that have not been applied. Those applied with psql leave no record; if all is there, that is the proof."""
    applied = recorded(conn)
    if whole and not any(map(is_ours, applied)):
        return []
    return [f"migration {file.version} has not been applied" for file in sql_files() if file.version not in applied]


def stopping(conn: Connection) -> list[str]:
    """What a service can't go on without, in words; nothing where all of it is there."""
    return _stopping(conn, lacks(conn, sql_files()))


def _stopping(conn: Connection, found: list[Lack]) -> list[str]:
    listed = [str(lack) for lack in found if lack.stops]
    return listed + pending(conn, whole=not listed)


def verify(conn: Connection) -> list[str]:
    """Services call this at start: they never make the schema. What is otherwise than in the files but stops nothing.

    Raises:
        SchemaMissing: lists everything that is missing.
    """
    found = lacks(conn, sql_files())
    refuse(_stopping(conn, found), "start again")
    return [str(lack) for lack in found]


def refuse(lacking: list[str], then: str) -> None:
    """Raises SchemaMissing with all of the list, if there is any."""
    if lacking:
        lines = "\n".join(f"  {thing}" for thing in lacking)
        raise SchemaMissing(f"The database lacks:\n{lines}\nRun `pgfleet migrate`, then {then}.")
