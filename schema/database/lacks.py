"""What a database is compared with: each thing that is not there, or not as the program makes it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import psycopg

from pgfleet.schema.database import things
from pgfleet.schema.database.catalog import SqlFile, functions, is_ours, views
from pgfleet.schema.database.needed import needed
from pgfleet.schema.database.things import SQL, Name, Things
from pgfleet.schema.kinds import queues

Connection = psycopg.Connection[tuple[Any, ...]]

# In the order in which they are told.
KINDS = (
    *("schema", "type", "table", "column", "view", "function", "closed function", "constraint", "index", "trigger"),
    *("queue", "move", "notice", "periodic", "retention", "row", "rights of", "needless rights of"),
)
# What may have been given another name, and is then there under that.
RENAMED = ("table", "column", "constraint", "index", "trigger")
OF_RIGHTS = ("rights of", "needless rights of")
_DISABLED = " (disabled)"
# Where one of these is not as it has to be, nobody can be asked which rights there are.
_ASKED_FOR_RIGHTS = ("schema", "type", "table", "column", "view", "function")


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is not there, or not as it should be.

    Attributes:
        wanted: what it should be, as the catalog writes it.
        found: what it is; None where it is not there.
        renamed: what is there of the same kind, and what nobody knows: perhaps it under another name.
    """

    kind: str
    name: str
    wanted: str = ""
    found: str | None = None
    renamed: str = ""

    def __str__(self) -> str:
        if self.renamed:
            return f"{self.kind} {self.name} is missing; {self.renamed} is there that nobody knows: renamed?"
        if self.found is None:
            return f"{self.kind} {self.name}"
        if self.found.endswith(_DISABLED):
            return f"{self.kind} {self.name} is disabled"
        if self.kind in ("view", "function"):
            return f"{self.kind} {self.name} is not what this version makes"
        return f"{self.kind} {self.name} is {self.found.strip() or 'ordinary'}, not {self.wanted or 'ordinary'}"

    @property
    def stops(self) -> bool:
        """Whether a service must not start: not where somebody has only changed what a function does, or when.

        Nor for a row that says what there is, or for a right of any role's; a worker looks itself for those of its own.
        """
        is_body = self.kind in ("view", "function") and self.found is not None
        return not is_body and self.kind not in ("periodic", "retention", "row", *OF_RIGHTS)

    @property
    def table(self) -> str:
        """The table that it is of."""
        if self.kind == "index":
            return self.wanted.partition(" USING ")[0].rpartition(" ")[2]
        return self.name.rpartition(".")[0] if self.kind in ("column", "constraint", "trigger") else self.name


def lacks(conn: Connection, program: list[SqlFile]) -> list[Lack]:
    """Everything that these files make and this database has not, or has otherwise, a kind after the other.

    What a thing is counts only where the list and the database are of these very files: a later version has other
    functions, and an older one must start beside it. Else names alone count.
    """
    there = things.there(conn)
    if things.describes(program) and _is_of(recorded(conn), program):
        found = [lack for lack in _compared(there) if not _says_itself(lack, there)]
        if not any(lack.kind in _ASKED_FOR_RIGHTS for lack in found):
            found += [*lost_rights(conn), *needless_rights(conn)]
        return sorted(found, key=lambda lack: KINDS.index(lack.kind))
    return list(absent(there))


def lost_rights(conn: Connection) -> list[Lack]:
    """What somebody took back of the rights that our roles are given; a login that may not ask is told none."""
    if not _is_true(conn, SQL["may_ask_for_rights"]):
        return []
    lost: dict[str, list[str]] = {}
    for role, thing, may in conn.execute(SQL["lost_rights"]):
        if ours := _on_ours(thing, may):
            lost.setdefault(role, []).append(f"{ours} on {thing}")
    return [Lack("rights of", f"{role}: {'; '.join(found)}") for role, found in lost.items()]


def needless_rights(conn: Connection) -> list[Lack]:
    """What somebody gave a role of ours, or everybody, beyond that; a login that may not ask is told none."""
    if not _is_true(conn, SQL["may_ask_for_needless_rights"]):
        return []
    wanted = things.wanted()
    known = [name for kind, name in wanted if kind in ("table", "view")]
    needless: dict[str, list[str]] = {}
    for role, thing, table, may in conn.execute(SQL["needless_rights"]):
        if table in (None, *known):
            needless.setdefault(role, []).append(f"{may} on {thing}")
    return [Lack("needless rights of", f"{role}: {'; '.join(found)}") for role, found in needless.items()]


def _is_true(conn: Connection, question: bytes) -> bool:
    row = conn.execute(question).fetchone()
    return row is not None and bool(row[0])


_WITH_COLUMNS = re.compile(r"(\w+)(?: \(([^)]*)\))?")


def _on_ours(thing: str, may: str) -> str:
    """These rights but for those on what others have beside ours: columns, tables, views."""
    wanted = things.wanted()
    if thing.startswith(("function ", "schema ", "sequence ")) or ("view", thing) in wanted:
        return may
    if ("table", thing) not in wanted and thing != "pgmq.meta":
        return ""
    kept = []
    for right, listed in _WITH_COLUMNS.findall(may):
        ours = [name for name in listed.split(", ") if ("column", f"{thing}.{name.strip(chr(34))}") in wanted]
        if ours or not listed:
            kept.append(f"{right} ({', '.join(ours)})" if listed else right)
    return ", ".join(kept)


def absent(there: Things) -> Iterator[Lack]:
    """Tables, columns, views, functions and queues whose names are not there."""
    tables = sorted(needed().items())
    named = [("table", name) for name, _ in tables]
    # Of a table that is not there, its name says enough.
    named += [("column", f"{name}.{each}") for name, columns in tables if ("table", name) in there for each in columns]
    named += [("view", name) for name in views()] + [("function", name) for name in functions()]
    yield from (Lack(kind, name) for kind, name in named if (kind, name) not in there)
    yield from (Lack("queue", queue) for queue in queues() if not _is_queue(queue, there))


def recorded(conn: Connection) -> dict[str, str | None]:
    """The files that were applied, with their checksums. With psql, none; nor for a person's own login."""
    return dict(conn.execute(SQL["recorded"]).fetchall()) if _is_true(conn, SQL["may_read_record"]) else {}


def _is_of(applied: dict[str, str | None], program: list[SqlFile]) -> bool:
    """Whether all that was applied is of this program as it is now; what has no checksum is taken as it is."""
    now = {file.version: file.checksum for file in program}
    ours = {version: checksum for version, checksum in applied.items() if is_ours(version)}
    return all(version in now and checksum in (None, now[version]) for version, checksum in ours.items())


def _compared(there: Things) -> Iterator[Lack]:
    unknown = {thing: found for thing, found in there.items() if thing not in things.wanted()}
    for (kind, name), wanted in things.wanted().items():
        found = there.get((kind, name))
        if found is None or (kind == "queue" and not _is_queue(name, there)):
            renamed = renamed_to((kind, name), unknown) if kind in RENAMED else ""
            yield Lack(kind, name, " or ".join(sorted(wanted)), renamed=renamed)
        elif not (wanted <= found or _is_widened(wanted, found) or (kind == "type" and _has_more_words(wanted, found))):
            yield Lack(kind, name, " or ".join(sorted(wanted)), " or ".join(sorted(found)))


def renamed_to(thing: Name, unknown: Things) -> str:
    """What has its definition, and a name that nobody knows; of several the one whose name is most like it."""
    kind, name = thing
    room, _, own = name.rpartition(".")
    alike = [
        other
        for (other_kind, other), found in unknown.items()
        if other_kind == kind and other.rpartition(".")[0] == room and _is_same(thing, other, found, unknown)
    ]
    return max(alike, key=lambda other: SequenceMatcher(None, own, other).ratio(), default="")


def _is_same(thing: Name, other: str, found: set[str], unknown: Things) -> bool:
    kind, name = thing
    if kind == "table":
        return _columns(name, things.wanted()) == _columns(other, unknown)
    own, others = (f" {each.rpartition('.')[2]} " for each in (name, other))
    return things.wanted()[thing] == {each.replace(others, own, 1) for each in found}


def _columns(table: str, of: Mapping[Name, set[str]]) -> dict[str, set[str]]:
    room = f"{table}."
    return {name.removeprefix(room): of["column", name] for kind, name in of if kind == "column" and room in name}


_NUMBERED = re.compile(r"integer( generated .* as identity| default nextval\(.*\)) not null")


def _is_widened(wanted: set[str], found: set[str]) -> bool:
    """Whether it is a key that an operator made a bigint, as the doctor advises where its numbers run out."""
    return any(_NUMBERED.fullmatch(each) and f"bigint{each.removeprefix('integer')}" in found for each in wanted)


def _has_more_words(wanted: set[str], found: set[str]) -> bool:
    """Whether it is a list of words with others beside ours, which nobody can take out, and which harm nothing."""
    (ours,), (theirs,) = wanted, found
    return " " not in ours.replace(", ", "") and set(ours.split(", ")) <= set(theirs.split(", "))


def _says_itself(lack: Lack, there: Things) -> bool:
    """Of a table or a queue that is not there, its name says enough."""
    schema, _, name = lack.table.partition(".")
    if schema == "pgmq" and lack.kind != "function" and name != "meta":
        return lack.kind != "retention" and not _is_queue(name[2:], there)
    return (
        lack.kind != "table"
        and lack.kind in ("column", "constraint", "index", "trigger")
        and ("table", lack.table) not in there
        and ("view", lack.table) not in there
    )


def _is_queue(queue: str, there: Things) -> bool:
    return {("queue", queue), ("table", f"pgmq.q_{queue}"), ("table", f"pgmq.a_{queue}")} <= there.keys()
