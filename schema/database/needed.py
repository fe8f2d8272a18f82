"""The tables and columns that the program needs, in `needed.json`: those of a migrated database (`make generated`).

`schema/tables` makes of it what statements in Python are built from. Tables are in the order in which they are made, so
that one comes after those that it refers to.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMAS = ("autoscaler", "clusters", "hopsworks", "public")
PRIMARY_KEY = " primary key"
_COLUMNS = """
  select
    n.nspname || '.' || c.relname,
    array_agg(a.attname::text order by a.attnum),
    array_agg(
      case t.typtype when 'e' then tn.nspname || '.' || t.typname else format_type(a.atttypid, a.atttypmod) end
        || case when a.attnum = any(k.conkey) then %s else '' end
      order by a.attnum
    )
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_type t on t.oid = a.atttypid
  join pg_namespace tn on tn.oid = t.typnamespace
  left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
  where n.nspname = any(%s) and c.relkind in ('r', 'p') and not c.relispartition
  group by c.oid, 1 order by c.oid
"""
_BEGIN_IDS = """
  select setval(s.oid, %(first)s, false)
  from pg_class s
  join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.oid and d.deptype in ('a', 'i')
  join pg_class c on c.oid = d.refobjid and d.refclassid = 'pg_class'::regclass
  join pg_namespace n on n.oid = c.relnamespace
  where s.relkind = 'S' and n.nspname || '.' || c.relname = any(%(tables)s)
    and coalesce(pg_sequence_last_value(s.oid), 0) < %(first)s
"""


@cache
def needed() -> Mapping[str, dict[str, str]]:
    """The columns of each table, by its name: `public.disks`; each with its type, and whether it is of the key."""
    text = files("pgfleet.schema.database").joinpath("needed.json").read_text("utf-8")
    tables: dict[str, dict[str, str]] = json.loads(text)
    return tables


def render(conn: Connection) -> str:
    """What `needed.json` is to say, by a database that was just migrated: a line for each table."""
    tables = conn.execute(_COLUMNS, (PRIMARY_KEY, list(SCHEMAS))).fetchall()
    lines = [
        f"  {json.dumps(name)}: {json.dumps(dict(zip(columns, types, strict=True)))}" for name, columns, types in tables
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def begin_ids(conn: Connection, first: int) -> int:
    """Let rows be numbered from `first` on in each table that is not further; how many tables those are."""
    return len(conn.execute(_BEGIN_IDS, {"first": first, "tables": list(needed())}).fetchall())
