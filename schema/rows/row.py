"""Rows as a step sees them: loaded whole, read-only, and with the version that guards their next move."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.rows import kernel as row_kernel


class Row:
    """One row of `table`; columns are attributes. Settling it asks that its version is still the same."""

    __slots__ = ("columns", "table", "version")

    def __init__(self, table: sa.Table, columns: dict[str, Any], version: str) -> None:
        self.table = table
        self.columns = columns
        self.version = version

    def __getattr__(self, name: str) -> Any:
        try:
            return self.columns[name]
        except KeyError:
            raise AttributeError(f"{self.table.name} has no column {name}") from None

    @property
    def key(self) -> Any:
        return self.columns[row_kernel.key_column(self.table).name]

    def __repr__(self) -> str:
        return f"<{self.table.name} {self.key} {self.columns.get('status')}>"


def ask_rows(conn: Connection, table: sa.Table, keys: Iterable[Any]) -> Cursor:
    """Ask for rows by key; inside a pipeline the answer is read later, by `rows_of`."""
    return conn.execute(row_kernel.select_rows(table), {"keys": list(keys)})


def rows_of(table: sa.Table, cursor: Cursor) -> dict[Any, Row]:
    """The rows asked for, by key; those that do not exist are not in it."""
    return {row.key: row for row in rows_in(table, cursor)}


def rows_in(table: sa.Table, answer: Iterable[Any], names: Sequence[str] = ()) -> Iterator[Row]:
    """Rows in the order of the answer: version, then the columns of these names, unless of the whole table."""
    columns = names or [column.name for column in table.columns]
    for version, *values in answer:
        yield Row(table, dict(zip(columns, values, strict=True)), version)
