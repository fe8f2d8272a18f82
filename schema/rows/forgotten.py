"""Rows that have something left to do and no message that would do it: a view for each machine says which (171)."""

from typing import LiteralString

from psycopg.sql import SQL, Composed, Identifier

from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.rows.row import Row, as_rows
from pgfleet.schema.rows.whole import join_by_hash

FOR_SWEEP: LiteralString = "select row_id, ticket from {} order by since, row_id limit %s"
FOR_PEOPLE: LiteralString = "select row_id, is_overdue from {} order by since, row_id"


def ask_forgotten(conn: Connection, machine: str, most: int) -> Cursor:
    """(id, ticket) of a machine's rows, for its sweep; inside a pipeline the answer is read later."""
    with conn.pipeline():
        join_by_hash(conn)
        return conn.execute(_of(machine, FOR_SWEEP), (most,))


def forgotten(conn: Connection, machine: str) -> list[Row]:
    """All of them: `row_id`, and `is_overdue` where a sweep should have seen it by now."""
    with conn.pipeline(), conn.cursor(row_factory=as_rows) as cursor:
        join_by_hash(conn)
        return cursor.execute(_of(machine, FOR_PEOPLE)).fetchall()


def _of(machine: str, statement: LiteralString) -> Composed:
    return SQL(statement).format(Identifier("public", f"forgotten_{machine}"))
