"""What each SQL file has made, written down beside its checksum; what no file makes any more is dropped."""

from collections.abc import Iterable
from typing import Any

import psycopg

from pgfleet.schema.database.catalog import SqlFile
from pgfleet.schema.errors import FleetError

Connection = psycopg.Connection[tuple[Any, ...]]

# Those that this transaction has written, with their arguments, whatever the search_path.
_WRITTEN = """
  select 'function ' || format('%%I.%%I(%%s)', n.nspname, p.proname, (
    select string_agg(format('%%I.%%I', tn.nspname, t.typname), ', ' order by place)
    from unnest(p.proargtypes) with ordinality a (type_id, place)
    join pg_type t on t.oid = a.type_id join pg_namespace tn on tn.oid = t.typnamespace))
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname || '.' || p.proname = any(%s) and p.xmin = pg_current_xact_id()::xid
"""


class StillNeeded(FleetError):
    """No file makes a function or view any more, but something uses it."""


def written(conn: Connection, file: SqlFile) -> list[str]:
    """What a file made that was just applied: `function public.prune(pg_catalog.int8)`, `view public.fleet_queues`."""
    functions = [thing for (thing,) in conn.execute(_WRITTEN, (file.made("function"),))]
    return sorted([*functions, *(f"view {name}" for name in file.made("view"))])


def drop(conn: Connection, things: Iterable[str]) -> None:
    """Views first: functions may be what they stand on."""
    for thing in sorted(things, reverse=True):
        kind, name = thing.split(" ", 1)
        try:
            conn.execute(f"drop {kind} if exists {name}".encode())
        except psycopg.errors.DependentObjectsStillExist as error:
            raise StillNeeded(
                f"No SQL file makes {thing} any more, but: {error.diag.message_detail}\n"
                "Nothing was applied. The file that made it has to drop what uses it."
            ) from error
