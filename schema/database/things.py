"""All that the program needs of a database, each thing with what it is: `things.json`, by a migrated one.

`needed.json` names its tables and columns for statements in Python. Here is all the rest too: constraints, indexes,
triggers, functions and views with their bodies, queues, and the rows without which nothing moves (`make generated`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg

from pgfleet.schema.database.catalog import OF_PGMQ, SqlFile, sql_files
from pgfleet.schema.database.needed import SCHEMAS
from pgfleet.schema.kinds import queues
from pgfleet.schema.rows.named import named

Connection = psycopg.Connection[tuple[Any, ...]]
# A kind and a name: ('column', 'public.disks.status').
Name = tuple[str, str]
# What is there under each name. Functions of one name may be several.
Things = dict[Name, set[str]]

SQL = named(__package__)
# Beside the others no server could take it that has no TimescaleDB.
_HYPERTABLES = "select schema_name || '.' || table_name from _timescaledb_catalog.hypertable"
# Each list of rows with the tables that they are in.
_ROWS = {
    "moves": ("public.moves",),
    "notices": ("public.notices",),
    "periodic": ("public.periodic",),
    "retention": ("public.retention",),
    "rows": (
        *("public.limits", "public.gpu_types", "public.line_settings"),
        *("hopsworks.billing_rates", "clusters.cluster_config_templates"),
    ),
    "queues": ("pgmq.meta",),
}


def there(conn: Connection, *, with_rows: bool = True) -> Things:
    """What there is in this database; without the rows for a login that may not read them."""
    of_queues = [prefix + queue for queue in queues() for prefix in ("q_", "a_")]
    # With no search_path every name is written with its schema, whatever the session's is; it has it back afterwards.
    with conn.transaction(force_rollback=True):
        conn.execute("set local search_path = ''")
        found = conn.execute(SQL["things"], {"schemas": list(SCHEMAS), "queue_tables": [*of_queues, "meta"]}).fetchall()
        names = {(kind, name) for kind, name, _ in found}
        for name, tables in _ROWS.items() if with_rows else ():
            if all(can_be_read(table, names) for table in tables):
                found += conn.execute(SQL[name]).fetchall() if name != "rows" or _may_read_rows(conn) else _all_rows()
        hypertables = _hypertables(conn)
    return _by_name(_as_by_day(each, hypertables) for each in found) | _days_of(hypertables)


def _hypertables(conn: Connection) -> set[str]:
    """Those tables that TimescaleDB keeps in chunks (194)."""
    if conn.execute("select 1 from pg_extension where extname = 'timescaledb'").fetchone() is None:
        return set()
    return {name for (name,) in conn.execute(_HYPERTABLES)}


def _as_by_day(thing: tuple[str, str, str], hypertables: set[str]) -> tuple[str, str, str]:
    """A thing of a hypertable as it is of the table by days that it stands for."""
    kind, name, what = thing
    if kind == "table" and name in hypertables:
        return kind, name, min(wanted().get((kind, name), {what}))
    of_table = next((table for table in hypertables if kind == "index" and f" ON {table} " in what), "")
    return kind, name, what.replace(f" ON {of_table} ", f" ON ONLY {of_table} ") if of_table else what


def _days_of(hypertables: set[str]) -> Things:
    """It takes rows of every day."""
    of_other_days = {("table", f"{each}_default") for each in hypertables}
    return {name: what for name, what in wanted().items() if name in of_other_days}


def _may_read_rows(conn: Connection) -> bool:
    row = conn.execute(SQL["may_read_rows"]).fetchone()
    return row is not None and bool(row[0])


def _all_rows() -> list[tuple[str, str, str]]:
    """As if they were there, for a worker, which may not look and does without: the doctor tells."""
    return [(kind, name, "") for kind, name in wanted() if kind == "row"]


def can_be_read(table: str, names: Iterable[Name]) -> bool:
    """Whether a table has all the columns that the program knows of it; of PGMQ's, whether it is there."""
    known = {name for name in wanted() if name[0] == "column" and name[1].startswith(f"{table}.")}
    return {("table", table), *known} <= set(names)


def wanted() -> Mapping[Name, set[str]]:
    """What is to be there."""
    return _read()[1]


def describes(program: list[SqlFile]) -> bool:
    """Whether the list is that of these very SQL files; after an edit it isn't, until `make generated`."""
    return _read()[0] == digest(program)


def digest(program: list[SqlFile]) -> str:
    listing = "".join(f"{file.version} {file.checksum}\n" for file in program)
    return hashlib.sha256(listing.encode()).hexdigest()


def render(conn: Connection) -> str:
    """What `things.json` is to say, by a database that was just migrated: a line for each thing."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for (kind, name), found in sorted(there(conn).items()):
        if _is_ours(kind, name):
            kinds.setdefault(kind, {})[name] = sorted(found)
    parts = [
        f"    {json.dumps(kind)}: {{\n"
        + ",\n".join(f"      {json.dumps(name)}: {json.dumps(found)}" for name, found in things.items())
        + "\n    }"
        for kind, things in kinds.items()
    ]
    return f'{{\n  "files": "{digest(sql_files())}",\n  "things": {{\n' + ",\n".join(parts) + "\n  }\n}\n"


_COLUMNS_OF_QUEUES = ("msg_id", "read_ct", "enqueued_at", "last_read_at", "vt", "message", "headers")


def _is_ours(kind: str, name: str) -> bool:
    """Of PGMQ, whose versions differ, only what we use."""
    if not name.startswith("pgmq."):
        return True
    if kind == "column":
        return name.startswith("pgmq.q_") and name.endswith(_COLUMNS_OF_QUEUES)
    if kind == "function":
        return name in OF_PGMQ
    ours = {"index": "_claim_idx", "constraint": ".times_have_an_end"}
    return kind in ("table", "trigger", "retention") or name.endswith(ours.get(kind, "\n"))


@cache
def _read() -> tuple[str, Things]:
    text = files("pgfleet.schema.database").joinpath("things.json").read_text("utf-8")
    listed = json.loads(text)
    things = {(kind, name): set(found) for kind, by_name in listed["things"].items() for name, found in by_name.items()}
    return listed["files"], things


def _by_name(found: Iterable[tuple[str, str, str]]) -> Things:
    things: Things = {}
    for kind, name, what in found:
        things.setdefault((kind, name), set()).add(what)
    return things
