"""The statements that put a thing right that is written out in the list, and what only a person can do."""

import json
import re
from collections.abc import Callable
from typing import Any

from psycopg.sql import SQL, Identifier, Literal

from pgfleet.schema.database.catalog import SqlFile
from pgfleet.schema.database.lacks import Lack
from pgfleet.schema.database.queueing import of_pgmq

_COLUMN = re.compile(
    r"(?P<type>.+?)(?P<made> generated .+? (?:as identity|stored))?(?: default (?P<default>.+?))?(?P<filled> not null)?"
)
_GOES_ON = SQL("select setval({name}, coalesce((select max({column}) from {table}), 1), exists (select from {table}))")
_RULE = SQL(
    "update public.retention set time_column = {time_column}, by_day = {by_day}, only_where = {only_where}"
    " where table_name = {table_name}"
)
# As PGMQ makes them; one that it makes without a default has one here, for the messages that are there.
_OF_QUEUES = {
    "msg_id": "bigint generated always as identity primary key",
    "read_ct": "integer default 0 not null",
    "enqueued_at": "timestamp with time zone default now() not null",
    "last_read_at": "timestamp with time zone",
    "vt": "timestamp with time zone default now() not null",
    "message": "jsonb",
    "headers": "jsonb",
}
_NUMBERED = re.compile(r"nextval\('(?P<name>[^']+)'::regclass\)")


def statements(lack: Lack, program: list[SqlFile]) -> list[str]:
    """What makes it as it should be; none where a whole file does, or a person."""
    if lack.renamed:
        return [] if by_hand(lack) else [_NAMED[lack.kind].format(**_names(lack)).as_string()]
    if lack.kind == "function" and lack.name.startswith("pgmq."):
        return of_pgmq(lack.name)
    if lack.kind == "function":
        return [text for file in program if (text := file.function(lack.name))]
    return _MAKERS[lack.kind](lack) if lack.kind in _MAKERS else []


def by_hand(lack: Lack) -> str | None:
    """The statement that a person has to run, as it may lose what is in the rows; None where `migrate` does it.

    A column or a table that was made anew would be empty, beside all that was in it.
    """
    if lack.renamed and lack.kind in ("table", "column"):
        return _NAMED[lack.kind].format(**_names(lack)).as_string()
    if lack.kind == "column" and lack.found and not _is_same_column(lack):
        wanted = _parts(lack.wanted)
        kind = wanted["type"]
        if kind == _parts(lack.found)["type"] and (wanted["made"] or "").endswith("identity"):
            return f"alter table {lack.table} alter column {_own(lack)} add{wanted['made']}"
        return f"alter table {lack.table} alter column {_own(lack)} type {kind} using {_own(lack)}::{kind}"
    return None


def revokes(lack: Lack) -> list[str]:
    """What takes back rights that are too many."""
    role, _, rights = lack.name.partition(": ")
    return [f"revoke {right} from {role}" for right in rights.split("; ")]


_NAMED = {
    "table": SQL("alter table {schema}.{renamed} rename to {own}"),
    "column": SQL("alter table {schema}.{table} rename column {renamed} to {own}"),
    "constraint": SQL("alter table {schema}.{table} rename constraint {renamed} to {own}"),
    "trigger": SQL("alter trigger {renamed} on {schema}.{table} rename to {own}"),
    "index": SQL("alter index {schema}.{renamed} rename to {own}"),
}


def _names(lack: Lack) -> dict[str, Identifier]:
    parts = {"own": _own(lack), "renamed": lack.renamed.rpartition(".")[2]}
    schema, _, rest = lack.name.partition(".")
    parts |= {"schema": schema, "table": rest.partition(".")[0]}
    return {name: Identifier(part) for name, part in parts.items()}


def _type(lack: Lack) -> list[str]:
    """What came to it after it was made."""
    verb = "add attribute" if " " in lack.wanted.partition(",")[0] else "add value if not exists"
    more = [each for each in lack.wanted.split(", ") if each not in (lack.found or lack.wanted).split(", ")]
    return [f"alter type {lack.name} {verb} {each if ' ' in each else Literal(each).as_string()}" for each in more]


def _column(lack: Lack) -> list[str]:
    wanted = _parts(lack.wanted)
    if lack.found is None:
        added = f"alter table {lack.table} add column {_own(lack)} {lack.wanted or _OF_QUEUES[_own(lack)]}"
        return [*_sequence(wanted), added, *_numbers(lack, wanted)]
    if not _is_same_column(lack):
        return []
    alter = f"alter table {lack.table} alter column {_own(lack)}"
    default = f"set default {wanted['default']}" if wanted["default"] else "drop default"
    filled = f"alter column {_own(lack)} {'set' if wanted['filled'] else 'drop'} not null"
    return [*_sequence(wanted), f"{alter} {default}, {filled}", *_numbers(lack, wanted)]


def _sequence(wanted: dict[str, str | None]) -> list[str]:
    numbered = _NUMBERED.fullmatch(wanted["default"] or "")
    return [f"create sequence if not exists {numbered['name']} as {wanted['type']}"] if numbered else []


def _numbers(lack: Lack, wanted: dict[str, str | None]) -> list[str]:
    """A sequence that was made anew goes on after the numbers that are taken."""
    numbered = _NUMBERED.fullmatch(wanted["default"] or "")
    if not numbered:
        return []
    schema, _, table = lack.table.partition(".")
    names = {"column": Identifier(_own(lack)), "table": Identifier(schema, table), "name": Literal(numbered["name"])}
    return [f"alter sequence {numbered['name']} owned by {lack.name}", _GOES_ON.format(**names).as_string()]


def _constraint(lack: Lack) -> list[str]:
    name = _own(lack)
    return [
        f"alter table {lack.table} drop constraint if exists {name}, add constraint {name} {lack.wanted}",
    ]


def _index(lack: Lack) -> list[str]:
    return [f"drop index if exists {lack.name}; {lack.wanted}"]


def _trigger(lack: Lack) -> list[str]:
    return [f"drop trigger if exists {_own(lack)} on {lack.table}; {lack.wanted}"]


def _table(lack: Lack) -> list[str]:
    return [f"alter table {lack.name} set logged"] if lack.found == "unlogged " else []


def _queue(lack: Lack) -> list[str]:
    return [f"select public.create_fleet_queue('{lack.name}')"]


def _retention(lack: Lack) -> list[str]:
    """One that is there keeps how long the operator wants it kept."""
    rule: dict[str, Any] = json.loads(lack.wanted)
    values = {column: Literal(value) for column, value in rule.items()}
    return [_RULE.format(table_name=Literal(lack.name), **values).as_string()]


_MAKERS: dict[str, Callable[[Lack], list[str]]] = {
    "type": _type,
    "table": _table,
    "column": _column,
    "constraint": _constraint,
    "index": _index,
    "trigger": _trigger,
    "queue": _queue,
    "retention": _retention,
}


def _is_same_column(lack: Lack) -> bool:
    """Whether it differs in its default only, or in whether it may be null: nothing in the rows is lost."""
    wanted, found = _parts(lack.wanted), _parts(lack.found or "")
    return (wanted["type"], wanted["made"]) == (found["type"], found["made"])


def _parts(written: str) -> dict[str, str | None]:
    found = _COLUMN.fullmatch(written)
    return found.groupdict() if found else {"type": written, "made": None, "default": None, "filled": None}


def _own(lack: Lack) -> str:
    return lack.name.rpartition(".")[2]
