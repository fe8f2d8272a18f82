"""Makes what a database lacks although the files that make it count as applied.

What is written out in the list is made from it: columns, constraints, indexes, triggers. A function is made by its own
statement. All else is made by applying files again, which may be applied any number of times: those of functions,
triggers and views (from 100 on) first, and all of them only where that is not enough.
"""

from contextlib import suppress
from typing import Any

import psycopg

from pgfleet.schema.database.catalog import SqlFile
from pgfleet.schema.database.holders import NOT_LOCKED
from pgfleet.schema.database.lacks import OF_RIGHTS, Lack, lacks, needless_rights
from pgfleet.schema.database.queueing import pgmq
from pgfleet.schema.database.remedies import by_hand, revokes, statements
from pgfleet.schema.database.things import describes
from pgfleet.schema.errors import FleetError

Connection = psycopg.Connection[tuple[Any, ...]]
# Why something was refused, by what it was.
Refusals = dict[str, str]


class NotMended(FleetError):
    """The database has something that only a person can put right; nothing was applied."""


def mend(conn: Connection, program: list[SqlFile]) -> list[str]:
    """Make all that is lacking, in the caller's transaction; returns what it was.

    Raises:
        NotMended: all that is left, each with why and with what to do.
    """
    if not describes(program):
        return []
    before = left = _lacking(conn, program)
    if renamed := [lack for lack in before if lack.renamed and by_hand(lack)]:
        raise NotMended(_told(renamed, {}))
    refusals: Refusals = {}
    late = [file for file in program if file.may_change]
    for files in (late, program, []):
        if left:
            refusals |= _make(conn, left, program) | _apply(conn, files)
            left = _lacking(conn, program)
    if left:
        raise NotMended(_told(left, refusals))
    return [str(lack) for lack in before]


def take_needless_rights(conn: Connection) -> None:
    """What another than the owner has granted, only that one can take back: the doctor goes on telling it."""
    for statement in [each for lack in needless_rights(conn) for each in revokes(lack)]:
        with suppress(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute(statement.encode())


def _lacking(conn: Connection, program: list[SqlFile]) -> list[Lack]:
    """But for rights, which are given once all is there that they are on."""
    return [lack for lack in lacks(conn, program) if lack.kind not in OF_RIGHTS]


def _make(conn: Connection, lacking: list[Lack], program: list[SqlFile]) -> Refusals:
    """One by one, as one may be refused for want of another."""
    refusals: Refusals = {}
    for lack in sorted(lacking, key=_order):
        for statement in statements(lack, program):
            refusals |= _run(conn, str(lack), [statement])
    return refusals


def _order(lack: Lack) -> int:
    """Functions before what calls them, foreign keys after what they refer to."""
    return -1 if lack.kind == "function" else int(lack.wanted.startswith("FOREIGN KEY"))


def _apply(conn: Connection, files: list[SqlFile]) -> Refusals:
    return _run(conn, "the SQL files", [pgmq(conn), *(file.text for file in files)])


def _run(conn: Connection, name: str, texts: list[str]) -> Refusals:
    """All or none of them."""
    try:
        with conn.transaction():
            for text in texts:
                conn.execute(text.encode())
    except NOT_LOCKED:
        raise
    except psycopg.Error as error:
        return {name: _why(error)}
    return {}


def _why(error: psycopg.Error) -> str:
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    return f"{error.diag.message_primary or 'it was refused'}{hint}"


def _told(left: list[Lack], refusals: Refusals) -> str:
    lines = [f"  {lack}\n    {_advice(lack, refusals)}" for lack in left]
    files = [f"  {name}: {why}" for name, why in refusals.items() if name == "the SQL files"]
    return "\n".join(
        [
            "This is not as it has to be, and only a person can put it right:",
            *lines,
            *files,
            "Nothing was applied. Put that right, then run `pgfleet migrate` again.",
        ]
    )


def _advice(lack: Lack, refusals: Refusals) -> str:
    do = by_hand(lack)
    if do:
        return f"do: {do}"
    return f"why: {refusals[str(lack)]}" if str(lack) in refusals else "do: drop it; then it is made anew"
