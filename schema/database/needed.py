"""The tables and columns that the program needs, in `needed.json`: those of a migrated database (`make generated`)."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMAS = ("autoscaler", "clusters", "hopsworks", "public")
_COLUMNS = """
  select n.nspname || '.' || c.relname as name, array_agg(a.attname::text order by a.attnum)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  where n.nspname = any(%s) and c.relkind in ('r', 'p') and not c.relispartition
  group by 1 order by 1
"""


@cache
def needed() -> Mapping[str, list[str]]:
    """The columns of each table, by its name: `public.disks`."""
    text = files("pgfleet.schema.database").joinpath("needed.json").read_text("utf-8")
    tables: dict[str, list[str]] = json.loads(text)
    return tables


def render(conn: Connection) -> str:
    """What `needed.json` is to say, by a database that was just migrated: a line for each table."""
    tables = sorted(conn.execute(_COLUMNS, (list(SCHEMAS),)).fetchall())
    lines = [f"  {json.dumps(name)}: {json.dumps(columns)}" for name, columns in tables]
    return "{\n" + ",\n".join(lines) + "\n}\n"
