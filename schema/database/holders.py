"""Who holds what is waited for, by name: a lock of PostgreSQL says only that somebody does."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.errors import Refusal
from pgfleet.schema.rows.named import named

Connection = psycopg.Connection[tuple[Any, ...]]

SQL = named(__package__)
_TOLD = 5
T = TypeVar("T")
# Of who did not get a lock in time, or was the one of several that had to give way.
NOT_LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_PAUSE_S = (0.2, 1.0)
LONGEST_TURN_S = 2
# Modes that conflict with themselves, and with no reader: whoever may only read a table can't hold them, nor keep
# anybody from them. The first lets others write meanwhile.
ALONGSIDE_WRITERS = "share update exclusive"
WITHOUT_WRITERS = "share row exclusive"


def holders(conn: Connection, table: str | None = None) -> str:
    """The sessions that hold a lock on our tables, or on one that is no reader's: `4711 (ada, psql) holds ...`."""
    rows = conn.execute(SQL["holders"], {"table": table}).fetchall()
    told = [f"process {pid} ({who}) holds {what}" for pid, who, what in rows[:_TOLD]]
    return "; ".join([*told, *([f"and {len(rows) - _TOLD} more"] if len(rows) > _TOLD else [])])


def lock_table(conn: Connection, table: str, mode: str) -> None:
    """Until the caller's transaction ends; only who may write the table can.

    Raises:
        psycopg.errors.LockNotAvailable: after the session's `lock_timeout`.
    """
    name = sql.Identifier(*table.split("."))
    conn.execute(sql.SQL("lock table {} in {} mode").format(name, sql.SQL(mode)))


def let_go_and_try_again(attempt: Callable[[], T], longest_s: float) -> T:
    """Whoever comes behind somebody that waits for a lock waits as well: between two attempts they have their turn.

    Raises:
        psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected: of the first attempt that ends after so long.
    """
    until = time.monotonic() + longest_s
    while True:
        try:
            return attempt()
        except NOT_LOCKED:
            if time.monotonic() > until:
                raise
        time.sleep(random.uniform(*_PAUSE_S))  # noqa: S311  # so that two who do so do not meet again


def take_turn(conn: Connection, table: str, mode: str, refusal: str) -> None:
    """Lock a table in the caller's transaction, or say who has it.

    Raises:
        Refusal: `refusal`, and who.
    """
    try:
        with conn.transaction():
            conn.execute("select set_config('lock_timeout', %s, true)", (f"{LONGEST_TURN_S}s",))
            lock_table(conn, table, mode)
    except psycopg.errors.LockNotAvailable:
        raise Refusal(f"{refusal}\n{holders(conn, table)}") from None


@contextmanager
def only_one(dsn: str, table: str, refusal: str) -> Iterator[None]:
    """Lets one in at a time, by a lock that only who may write the table can take; a session of its own holds it.

    Raises:
        Refusal: `refusal`, and who is in.
    """
    with closing(open_session(dsn)) as conn:
        conn.execute("select")
        take_turn(conn, table, ALONGSIDE_WRITERS, refusal)
        yield
