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
from functools import lru_cache
from typing import Any

import psycopg
import sqlalchemy as sa

from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Connection, Cursor, DeadLetter, Json, Outgoing, Token
from pgfleet.schema.rows import kernel as row_kernel
from pgfleet.workers.runtime.hand import Delivery
from pgfleet.workers.runtime.outcomes import Change, Move, New

LOOK_AGAIN = "PF409"
# Errors that say nothing about what was to be written: no connection, or a server that was primary once.
GONE = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
# Somebody else holds a row for long: nothing is wrong with the message, and nothing with the server.
HELD_UP = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)
ABOUT_THE_UNIT = (*HELD_UP, psycopg.errors.ProgramLimitExceeded)


@dataclass(frozen=True, slots=True)
class PutBack:
    delay: timedelta
    headers: Json


@dataclass(frozen=True, slots=True)
class Unit:
    """What is to be written for one message: all of it or nothing. Without `put_back` the message goes."""

    delivery: Delivery
    outcome: str
    reason: str
    changes: tuple[Change, ...] = ()
    sends: tuple[tuple[str, Outgoing], ...] = ()
    put_back: PutBack | None = None
    letter: DeadLetter | None = None

    @property
    def token(self) -> Token:
        return self.delivery.token


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
        one of GONE: the connection is of no use any more; whether it was written is for the tokens to tell.
    """
    result = Settled()
    _settle(conn, queue, list(units), author, result)
    return result


def _settle(conn: Connection, queue: str, units: list[Unit], author: Author, result: Settled) -> None:
    units = _without_clashes(units, result)
    while units:
        try:
            lost, stale = _try(conn, queue, units, author)
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            continue
        except Exception as error:  # the unit that causes it fails, whatever it is
            if isinstance(error, GONE) and not isinstance(error, ABOUT_THE_UNIT):
                raise
            if len(units) > 1:
                middle = len(units) // 2
                _settle(conn, queue, units[:middle], author, result)
                _settle(conn, queue, units[middle:], author, result)
            elif getattr(error, "sqlstate", None) == LOOK_AGAIN:
                result.stale += units
            else:
                result.failed.append((units[0], error))
            return
        if not lost and not stale:
            result.done += units
            return
        result.lost += [unit for unit in units if unit.token in lost]
        result.stale += [unit for unit in units if unit.token in stale - lost]
        units = [unit for unit in units if unit.token not in lost | stale]


def _without_clashes(units: list[Unit], result: Settled) -> list[Unit]:
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
    return _table(change).name, row_key(change)


def _table(change: Change) -> sa.Table:
    return change.row.table if isinstance(change, Move) else change.table


def row_key(change: Change) -> Any:
    if isinstance(change, Move):
        return change.row.key
    return change.values[row_kernel.key_column(change.table).name]


def _try(conn: Connection, queue: str, units: list[Unit], author: Author) -> tuple[set[Token], set[Token]]:
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
        lost = {unit.token for unit in units} - _tokens(ours, units)
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


def _tokens(ours: list[Cursor], units: list[Unit]) -> set[Token]:
    msg_ids = {row[0] for cursor in ours for row in cursor.fetchall()}
    return {unit.token for unit in units if unit.token.msg_id in msg_ids}


def _change_rows(conn: Connection, units: list[Unit]) -> list[tuple[sa.Table, Cursor]]:
    """One statement a table, whatever columns each row changes, so that triggers see the whole batch."""
    moves: dict[sa.Table, list[tuple[Move, Unit]]] = defaultdict(list)
    news: dict[tuple[sa.Table, tuple[str, ...]], list[dict[str, Any]]] = defaultdict(list)
    for unit in units:
        for change in unit.changes:
            if isinstance(change, Move):
                moves[change.row.table].append((change, unit))
            else:
                row = _born(change, unit)
                news[change.table, tuple(sorted(row))].append(row)
    _lock_counters(conn, units)
    cursors = [(table, _move(conn, table, moves[table])) for table in sorted(moves, key=_rank)]
    for table, columns in sorted(news, key=lambda place: _rank(place[0])):
        rows = news[table, columns]
        # In key order, as rows are locked: two batches that make the same rows don't wait in a circle.
        rows.sort(key=lambda row: row[row_kernel.key_column(table).name])
        values = [[row[name] for name in columns] for row in rows]
        cursors.append((table, row_kernel.insert_rows(conn, table, columns, values)))
    return cursors


def _lock_counters(conn: Connection, units: list[Unit]) -> None:
    """Rows that triggers count into are locked ahead of all else, in key order: two batches never wait crosswise."""
    counters: dict[sa.Table, set[Any]] = defaultdict(set)
    for unit in units:
        for change in unit.changes:
            table, column = _table(change).info.get("counts_into", (None, ""))
            key = None if table is None else change.values.get(column, _before(change, column))
            if key is not None:
                counters[table].add(key)
    for table, keys in counters.items():
        row_kernel.lock_rows(conn, table, sorted(keys))


def _before(change: Change, column: str) -> Any:
    return change.row.get(column) if isinstance(change, Move) else None


def _rank(table: sa.Table) -> tuple[int, str]:
    """Tables that others refer to come first: a trigger of theirs may count into a row that has moved by then."""
    return _ranks(table.metadata).get(table, 0), table.fullname


@lru_cache
def _ranks(metadata: sa.MetaData) -> dict[sa.Table, int]:
    return {table: rank for rank, table in enumerate(metadata.sorted_tables)}


def _move(conn: Connection, table: sa.Table, moves: list[tuple[Move, Unit]]) -> Cursor:
    values = [_moved(move, unit) for move, unit in moves]
    columns = sorted({name for changed in values for name in changed})
    rows = [
        (
            move.row.key,
            move.row.version,
            *(changed.get(name, move.row[name]) for name in columns),
        )
        for (move, _), changed in zip(moves, values, strict=True)
    ]
    if len(rows) > 1:
        row_kernel.lock_rows(conn, table, [row[0] for row in rows])
    return row_kernel.move_rows(conn, table, columns, rows)


def _moved(move: Move, unit: Unit) -> dict[str, Any]:
    if move.to is None:
        return dict(move.values)
    told = {"status": move.to, "status_reason": move.reason, "status_msg_id": unit.token.msg_id}
    return {**move.values, **told}


def _born(new: New, unit: Unit) -> dict[str, Any]:
    if new.status is None:
        return dict(new.values)
    told = {"status": new.status, "status_reason": new.reason, "status_msg_id": unit.token.msg_id}
    return {**new.values, **told}


def _stale(changed: list[tuple[sa.Table, Cursor]], units: list[Unit]) -> set[Token]:
    written = {(table.name, row[0]) for table, cursor in changed for row in cursor.fetchall()}
    return {unit.token for unit in units if any(_place(change) not in written for change in unit.changes)}


def _send(conn: Connection, units: list[Unit]) -> None:
    by_queue: dict[str, list[Outgoing]] = defaultdict(list)
    for unit in units:
        for queue, message in unit.sends:
            by_queue[queue].append(message)
    for queue in sorted(by_queue):
        kernel.send(conn, queue, by_queue[queue])
