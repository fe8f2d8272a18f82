"""The settler: the one place that writes what steps have decided, a batch in one pipelined transaction.

A batch is sent whole and judged by its answers before the commit. A message that is no longer ours is lost;
a row that is no longer as it was loaded makes its unit stale. Either is rare, so then everything is
rolled back and the rest is sent again without it. Any other error, of the database or of a value that
can't be sent to it, halves the batch until it has found the unit that causes it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

import psycopg
import sqlalchemy as sa

from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Connection, Cursor, DeadLetter, Json, Outgoing, Token
from pgfleet.schema.rows import kernel as row_kernel
from pgfleet.workers.runtime.halves import in_halves
from pgfleet.workers.runtime.outcomes import Change, Move
from pgfleet.workers.runtime.task import Task

LOOK_AGAIN = "PF409"
CLASHES = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
# No connection, a server that was primary once, or one that lets us do nothing.
GONE = (
    psycopg.OperationalError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InsufficientPrivilege,
)
# Somebody else holds a row for long: nothing is wrong with the message, and nothing with the server.
HELD_UP = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)
ABOUT_THE_UNIT = (*CLASHES, *HELD_UP, psycopg.errors.ProgramLimitExceeded)


def is_gone(error: Exception) -> bool:
    """Whether an error says nothing about what was to be written."""
    return isinstance(error, GONE) and not isinstance(error, ABOUT_THE_UNIT)


@dataclass(frozen=True, slots=True)
class PutBack:
    delay: timedelta
    headers: Json


@dataclass(slots=True)
class Unit:
    """What is to be written for one message: all of it or nothing. Without `put_back` the message goes.

    Not frozen, nor is a Turn: nobody changes them, and to make a frozen one takes five times as long.
    """

    task: Task
    outcome: str
    reason: str
    changes: tuple[Change, ...] = ()
    sends: tuple[tuple[str, Outgoing], ...] = ()
    put_back: PutBack | None = None
    letter: DeadLetter | None = None

    @property
    def token(self) -> Token:
        return self.task.token


@dataclass(slots=True)
class Settled:
    """What became of a batch. `stale` units have to be decided again; `failed` ones the database refused."""

    done: list[Unit] = field(default_factory=list)
    lost: list[Unit] = field(default_factory=list)
    stale: list[Unit] = field(default_factory=list)
    failed: list[tuple[Unit, Exception]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Author:
    """Who settles, as the history will say, and how long one statement may take."""

    name: str
    timeout_s: float


def settle(conn: Connection, queue: str, units: Sequence[Unit], author: Author) -> Settled:
    """Write the units; the connection is in autocommit mode.

    Raises:
        one of GONE: the connection is lost, and whether the batch was committed is not known.
    """
    result = Settled()
    left = _without_clashes(units, result)
    while left:
        parts = in_halves(left, partial(_try_again, conn, queue, author))
        left = [unit for part, answer in parts for unit in _sorted_out(part, answer, result)]
    return result


def _without_clashes(units: Sequence[Unit], result: Settled) -> list[Unit]:
    """One unit a row: a second one was decided without knowing of the first, so it is stale."""
    taken: set[tuple[str, Any]] = set()
    kept = []
    for unit in units:
        rows = {_place(change) for change in unit.changes}
        if rows & taken:
            result.stale.append(unit)
        else:
            taken |= rows
            kept.append(unit)
    return kept


def _place(change: Change) -> tuple[str, Any]:
    return change.table.name, str(change.key)


# The tokens that were lost, and those that were stale; with either, nothing was written.
Answer: TypeAlias = tuple[set[Token], set[Token]]


def _try_again(conn: Connection, queue: str, author: Author, units: list[Unit]) -> Answer | Exception:
    """What a transaction comes to; one that clashes with another is tried again."""
    while True:
        try:
            return _try(conn, queue, units, author)
        except CLASHES:
            continue
        except Exception as error:  # the unit that causes it fails, whatever it is
            if is_gone(error):
                raise
            return error


def _sorted_out(units: list[Unit], answer: Answer | Exception, result: Settled) -> list[Unit]:
    """Note what became of some units; those that have to be sent again, without the others."""
    if isinstance(answer, Exception):
        if getattr(answer, "sqlstate", None) == LOOK_AGAIN:
            result.stale += units
        else:
            result.failed.append((units[0], answer))
        return []
    lost, stale = answer
    if not lost and not stale:
        result.done += units
        return []
    result.lost += [unit for unit in units if unit.token in lost]
    result.stale += [unit for unit in units if unit.token in stale - lost]
    return [unit for unit in units if unit.token not in lost | stale]


def _try(conn: Connection, queue: str, units: list[Unit], author: Author) -> Answer:
    """Send all in one go and look at the answers; commit only if nothing was lost or stale.

    The pipeline is left before the answers are read: only its exit is sure to send the last byte of a
    large batch.
    """
    try:
        with conn.pipeline():
            conn.execute("begin")
            kernel.sign(conn, author.name, author.timeout_s)
            ours = _give_up_messages(conn, queue, units)
            changed = _change_rows(conn, units)
            _send(conn, units)
            letters = [unit.letter for unit in units if unit.letter]
            if letters:
                kernel.bury(conn, queue, letters)
        if _is_all_written(units, ours, changed):
            conn.commit()
            return set(), set()
        mine = {row[0] for cursor in ours for row in cursor.fetchall()}
        lost = {unit.token for unit in units if unit.token.msg_id not in mine}
        stale = _stale(changed, units)
        if not lost and not stale:
            conn.commit()
    finally:
        if not conn.closed:
            conn.rollback()
    return lost, stale


def _give_up_messages(conn: Connection, queue: str, units: list[Unit]) -> list[Cursor]:
    cursors = []
    gone = [unit.token for unit in units if unit.put_back is None]
    if gone:
        cursors.append(kernel.delete(conn, queue, gone))
    back = [(unit.token, unit.put_back) for unit in units if unit.put_back is not None]
    if back:
        tokens, puts = [token for token, _ in back], [put for _, put in back]
        cursors.append(kernel.put_back(conn, queue, tokens, [put.delay for put in puts], [put.headers for put in puts]))
    return cursors


def _change_rows(conn: Connection, units: list[Unit]) -> list[tuple[sa.Table, Cursor]]:
    """One statement a table, whatever columns each row changes, so that triggers see the whole batch."""
    moves: dict[sa.Table, list[tuple[Move, Unit]]] = defaultdict(list)
    news: dict[tuple[sa.Table, tuple[str, ...]], list[dict[str, Any]]] = defaultdict(list)
    for unit in units:
        for change in unit.changes:
            if isinstance(change, Move):
                moves[change.table].append((change, unit))
            else:
                row = _values(change, unit)
                news[change.table, tuple(sorted(row))].append(row)
    _lock_counters(conn, units)
    cursors = [(table, _move(conn, table, moves[table])) for table in sorted(moves, key=_rank)]
    for table, columns in sorted(news, key=lambda place: _rank(place[0])):
        rows = news[table, columns]
        # In key order, as rows are locked: two batches that make the same rows don't deadlock.
        rows.sort(key=lambda row: row[row_kernel.key_column(table).name])
        values = [[row[name] for name in columns] for row in rows]
        cursors.append((table, row_kernel.insert_rows(conn, table, columns, values)))
    return cursors


def _lock_counters(conn: Connection, units: list[Unit]) -> None:
    """Rows that triggers count into are locked ahead of all else, in key order, so that two batches don't deadlock."""
    counters: dict[sa.Table, set[Any]] = defaultdict(set)
    for unit in units:
        for change in unit.changes:
            table, column = change.table.info.get("counts_into", (None, ""))
            before = change.row.get(column) if isinstance(change, Move) else None
            key = None if table is None else change.values.get(column, before)
            if key is not None:
                counters[table].add(key)
    for table, keys in counters.items():
        row_kernel.lock_rows(conn, table, sorted(keys))


def _rank(table: sa.Table) -> tuple[int, str]:
    """Tables that others refer to come first: a trigger of theirs may count into a row that has moved by then."""
    return table.info.get("place", 0), table.fullname


def _move(conn: Connection, table: sa.Table, moves: list[tuple[Move, Unit]]) -> Cursor:
    values = [_values(move, unit) for move, unit in moves]
    columns = sorted({name for changed in values for name in changed})
    rows = [
        (move.key, move.row.version, *(changed[name] if name in changed else move.row[name] for name in columns))
        for (move, _), changed in zip(moves, values, strict=True)
    ]
    if len(rows) > 1:
        row_kernel.lock_rows(conn, table, [row[0] for row in rows])
    return row_kernel.move_rows(conn, table, columns, rows)


def _values(change: Change, unit: Unit) -> dict[str, Any]:
    """What a change writes; of a move also where to, why, and by which message."""
    if change.to is None:
        return dict(change.values)
    signed = {"status": change.to, "status_reason": change.reason, "status_msg_id": unit.token.msg_id}
    return {**change.values, **signed}


def _is_all_written(units: list[Unit], ours: list[Cursor], changed: list[tuple[sa.Table, Cursor]]) -> bool:
    """So it is nearly always, and then what each answer names is not looked at."""
    written = sum(cursor.rowcount for cursor in ours), sum(cursor.rowcount for _, cursor in changed)
    return written == (len(units), sum(len(unit.changes) for unit in units))


def _stale(changed: list[tuple[sa.Table, Cursor]], units: list[Unit]) -> set[Token]:
    written = {(table.name, str(row[0])) for table, cursor in changed for row in cursor.fetchall()}
    return {unit.token for unit in units if any(_place(change) not in written for change in unit.changes)}


def _send(conn: Connection, units: list[Unit]) -> None:
    by_queue: dict[str, list[Outgoing]] = defaultdict(list)
    for unit in units:
        for queue, message in unit.sends:
            by_queue[queue].append(message)
    for queue in sorted(by_queue):
        kernel.send(conn, queue, by_queue[queue])
