"""Rows as steps and people see them: columns by name, read-only; one that is loaded to be moved knows its version."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
import sqlalchemy as sa

from pgfleet.schema.queue.arrays import array
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.rows import kernel as row_kernel


class Row(dict[str, Any]):
    """Columns by name, as keys and as attributes. Settling one with a version asks that it is still the same.

    Attributes:
        table: what it is a row of, where it was loaded to be moved.
        version: PostgreSQL's own, of the row as it was loaded.
    """

    __slots__ = ("_table", "version")

    def __init__(
        self,
        columns: Iterable[tuple[str, Any]] | Mapping[str, Any],
        table: sa.Table | None = None,
        version: str = "",
    ) -> None:
        super().__init__(columns)
        self._table = table
        self.version = version

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"{self._table if self._table is not None else 'the row'} has no column {name}"
            ) from None

    @property
    def table(self) -> sa.Table:
        if self._table is None:
            raise TypeError("a row that was read for people can't be moved")
        return self._table

    @property
    def key(self) -> Any:
        return self[row_kernel.key_column(self.table).name]

    def __repr__(self) -> str:
        return f"<{self.table.name} {self.key} {self.get('status')}>" if self._table is not None else super().__repr__()


def as_rows(cursor: psycopg.Cursor[Any]) -> Any:
    """Psycopg's row factory for rows that are read for people."""
    result = cursor.pgresult
    # Psycopg takes 1 us to describe a column, of which only the name is wanted.
    names = [] if result is None else [(result.fname(index) or b"").decode() for index in range(result.nfields)]
    return lambda values: Row(zip(names, values, strict=True))


def ask_rows(conn: Connection, table: sa.Table, keys: Iterable[Any]) -> Cursor:
    """Ask for rows by key; inside a pipeline the answer is read later, by `rows_of`."""
    return conn.execute(row_kernel.select_rows(table), {"keys": array(list(keys))}, prepare=False)


def rows_of(table: sa.Table, cursor: Cursor) -> dict[Any, Row]:
    """The rows asked for, by key; those that do not exist are not in it."""
    # Psycopg takes 1 us to name a column: the statement was made from the table, whose names are here already.
    columns = [column.name for column in table.columns]
    key = row_kernel.key_column(table).name
    return {row[key]: row for row in _read(table, columns, cursor)}


def rows_in(table: sa.Table, cursor: Cursor) -> Iterator[Row]:
    """Rows in the order of the answer: first their version, then columns that have their names from the answer."""
    return _read(table, [column.name for column in (cursor.description or ())[1:]], cursor)


def _read(table: sa.Table, columns: Sequence[str], cursor: Cursor) -> Iterator[Row]:
    for version, *values in cursor:
        yield Row(zip(columns, values, strict=True), table, version)
