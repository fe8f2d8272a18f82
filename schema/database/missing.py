"""What the program needs and a database lacks; services ask for it when they start."""

from collections.abc import Iterator
from typing import Any

import psycopg

from pgfleet.schema.database.catalog import functions, is_ours, sql_files, views
from pgfleet.schema.database.needed import SCHEMAS, needed
from pgfleet.schema.errors import FleetError
from pgfleet.schema.kinds import queues

Connection = psycopg.Connection[tuple[Any, ...]]
Thing = tuple[str, str]

_MIGRATIONS = "public.schema_migrations"
_RECORDED = "select version from public.schema_migrations"
_EXISTING = """
  select case c.relkind when 'v' then 'view' else 'table' end, n.nspname || '.' || c.relname
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


class SchemaMissing(FleetError):
    """The database lacks something that the program needs; the message lists all of it."""


def missing(conn: Connection) -> list[str]:
    """Everything that the program needs and this database lacks: `column public.disks.status`.

    Files that were applied with psql leave no record; then what they make is the proof.
    """
    existing: set[Thing] = set(conn.execute(_EXISTING, {"schemas": [*SCHEMAS, "pgmq"]}).fetchall())
    things = [f"{kind} {name}" for kind, name in _needed(existing) if (kind, name) not in existing]
    things += [f"queue {queue}" for queue in queues() if ("table", f"pgmq.q_{queue}") not in existing]

    recorded: set[str] = set()
    if ("table", _MIGRATIONS) in existing:
        recorded = {version for (version,) in conn.execute(_RECORDED)}
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


def _needed(existing: set[Thing]) -> Iterator[Thing]:
    """Tables, columns, views, functions. Of a table that is not there, its name says enough."""
    tables = sorted(needed().items())
    yield from (("table", name) for name, _ in tables)
    for name, columns in tables:
        if ("table", name) in existing:
            yield from (("column", f"{name}.{column}") for column in columns)
    yield from (("view", name) for name in views())
    yield from (("function", name) for name in functions())
