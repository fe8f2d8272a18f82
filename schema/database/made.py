"""What each SQL file has made, written down beside its checksum; what no file makes any more is dropped.

What is there as it has to be is not made again: to make a trigger, a view or an index anew locks it or its table until
the migration ends, and whoever works waits for it. Functions are made anew without a lock.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg

from pgfleet.schema.database.catalog import SqlFile
from pgfleet.schema.database.things import Name, Things, describes, wanted
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
# Statements as our files have them: one begins a line, and ends at the first line that ends so.
_MADE = {
    "view": r"create or replace view (?P<name>[\w.]+)",
    "trigger": r"create or replace trigger (?P<own>\w+)\b.*?\bon (?P<table>[\w.]+)",
    "index": r"create (?:unique )?index if not exists (?P<own>\w+)\s+on (?P<schema>\w+)\.\w+",
}
_DROPPED = re.compile(r"(?ms)^drop trigger if exists (?P<own>\w+) on (?P<table>[\w.]+);$\n?")


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


def without_what_is_there(files: list[SqlFile], program: list[SqlFile], there: Things) -> list[SqlFile]:
    """These files of a program, without those of their statements that would only make what is there as it has to be.

    All of them where nobody knows how it has to be: after an edit, until `make generated`.
    """
    if not describes(program):
        return files
    return [replace(file, text=_shortened(file.text, there)) if file.may_change else file for file in files]


def _shortened(text: str, there: Things) -> str:
    for kind, begin in _MADE.items():
        text = re.sub(rf"(?ms)^{begin}.*?;$\n?", partial(_unless_there, kind, there), text)
    return _DROPPED.sub(partial(_if_there, there), text)


def _unless_there(kind: str, there: Things, found: re.Match[str]) -> str:
    thing = _named(kind, found)
    # Of an index that is there, `if not exists` makes nothing, whatever it is.
    is_there = thing in there and (kind == "index" or there[thing] == wanted().get(thing))
    return "" if is_there else found[0]


def _if_there(there: Things, found: re.Match[str]) -> str:
    return found[0] if _named("trigger", found) in there else ""


def _named(kind: str, found: re.Match[str]) -> Name:
    parts = found.groupdict()
    return kind, parts.get("name") or f"{parts.get('table') or parts.get('schema')}.{parts['own']}"
