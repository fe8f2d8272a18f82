"""The statements on rows: load whole rows with their version, and write them if they are still as they were.

Made from the descriptions in `schema/tables`, once for each table and set of columns; values are always parameters,
one array for each column, so that a batch is one statement. Rows are found by an array of keys, and each statement has
a plan of its own, so that statistics or a plan from when a table was empty do not have all of it read.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, LiteralString

import sqlalchemy as sa
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy.dialects.postgresql import psycopg as sqlalchemy_psycopg

from pgfleet.schema.queue.arrays import array
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.queue.reading import jsonb

# PostgreSQL's own: any change of any column makes a new one.
ROW_VERSION = "row_version"
DIALECT = sqlalchemy_psycopg.dialect()  # type: ignore[no-untyped-call]


@lru_cache
def select_rows(table: sa.Table) -> bytes:
    """The statement that loads whole rows by key, with the version that a guarded move asks for."""
    statement = versioned(table).where(
        key_column(table) == sa.any_(sa.bindparam("keys", type_=sa.ARRAY(_unlimited(key_column(table)))))
    )
    return text_of(statement)


def versioned(of: Any, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Whole rows of a table or its alias, unless columns are named, with the version that guards their next move."""
    name = of.fullname if isinstance(of, sa.Table) else of.name
    return sa.select(sa.literal_column(f"{name}.xmin::text").label(ROW_VERSION), *(columns or of.columns))


def text_of(statement: sa.SelectBase) -> bytes:
    """A statement as psycopg takes it, for connections and pipelines that SQLAlchemy does not manage."""
    return str(statement.compile(dialect=DIALECT)).encode()


@lru_cache
def key_column(table: sa.Table) -> sa.Column[Any]:
    (column,) = table.primary_key.columns
    return column


LOCK_ROWS: LiteralString = "select from {t} where {key} = any(%s::{key_type}[]) order by {key} for update"


def lock_rows(conn: Connection, table: sa.Table, keys: list[Any]) -> Cursor:
    """Lock rows in key order, so that two batches never wait for each other in a circle."""
    return conn.execute(_on_table(table, LOCK_ROWS), (array(keys),), prepare=False)


def move_rows(conn: Connection, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Cursor:
    """Update rows that are as they were loaded; result rows: the keys of those that were.

    Shapes: each of `rows` is (key, version, a value for each of `columns`).
    """
    values = _by_column(table, columns, rows)
    return conn.execute(_move_statement(table, tuple(columns)), [*values, values[0]], prepare=False)


def insert_rows(conn: Connection, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Cursor:
    """Insert rows of which no unique value is there yet; result rows: the keys of those inserted."""
    return conn.execute(_insert_statement(table, tuple(columns)), _by_column(table, columns, rows))


@lru_cache
def _on_table(table: sa.Table, statement: LiteralString) -> Composed:
    key = key_column(table)
    return SQL(statement).format(
        t=Identifier(table.schema or "public", table.name),
        key=Identifier(key.name),
        key_type=_type(table, key.name),
    )


MOVE: LiteralString = """
update {t} t set {sets}
from unnest({arrays}) as m ({names})
where t.{key} = any ({keys}) and t.{key} = m.{key} and t.xmin = m.row_version::xid
returning t.{key}
"""


@lru_cache(maxsize=1024)
def _move_statement(table: sa.Table, columns: tuple[str, ...]) -> Composed:
    key = key_column(table).name
    sets = [SQL("{0} = m.{0}").format(Identifier(name)) for name in columns]
    names = [Identifier(name) for name in (key, ROW_VERSION, *columns)]
    arrays = [_array(table, key), SQL("%s::text[]"), *(_array(table, name) for name in columns)]
    return SQL(MOVE).format(
        t=Identifier(table.schema or "public", table.name),
        sets=SQL(", ").join(sets),
        arrays=SQL(", ").join(arrays),
        names=SQL(", ").join(names),
        key=Identifier(key),
        keys=_array(table, key),
    )


INSERT: LiteralString = """
insert into {t} ({names}) select * from unnest({arrays})
on conflict do nothing
returning {key}
"""


@lru_cache(maxsize=1024)
def _insert_statement(table: sa.Table, columns: tuple[str, ...]) -> Composed:
    return SQL(INSERT).format(
        t=Identifier(table.schema or "public", table.name),
        names=SQL(", ").join(Identifier(name) for name in columns),
        arrays=SQL(", ").join(_array(table, name) for name in columns),
        key=Identifier(key_column(table).name),
    )


def _array(table: sa.Table, column: str) -> Composed:
    return SQL("%s::{}[]").format(_type(table, column))


@lru_cache
def _type(table: sa.Table, column: str) -> SQL:
    name = _unlimited(table.columns[column]).compile(dialect=DIALECT)
    return SQL(name)


def _unlimited(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    """The type to send values as: a cast to varchar(n) would cut what is too long, where the column refuses it."""
    limited = isinstance(column.type, sa.String) and not isinstance(column.type, sa.Enum)
    return sa.Text() if limited else column.type


def _by_column(table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Any]:
    turned: list[Sequence[Any]] = list(zip(*rows, strict=True))
    first = len(turned) - len(columns)
    for index, name in enumerate(columns, start=first):
        if isinstance(table.columns[name].type, sa.JSON):
            turned[index] = [jsonb(value) for value in turned[index]]
    return [array(values) for values in turned]
