"""Runs SQLAlchemy Core statements on a psycopg connection; the answer is rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from psycopg.types.json import set_json_loads
from sqlalchemy.dialects.postgresql import JSONB

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.queue.reading import read_json
from pgfleet.schema.rows.kernel import DIALECT
from pgfleet.schema.rows.row import Row, as_rows

# What is shown in the place of a value that is too large.
TOO_LARGE = "too_large_to_show"
FLEET_NOW = sa.func.public.fleet_now(type_=sa.TIMESTAMP(timezone=True))


@dataclass(frozen=True)
class Written:
    """A statement that is asked again and again: SQLAlchemy writes it once, which takes a millisecond."""

    statement: sa.Executable

    @cached_property
    def text(self) -> bytes:
        return str(self._compiled).encode()

    @cached_property
    def values(self) -> dict[str, Any]:
        return dict(self._compiled.params)

    @cached_property
    def _compiled(self) -> Any:
        return self.statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]


# A page asks ten statements, and to write each anew took as long as to ask it.
_KNOWN: sa.util.LRUCache[Any, Any] = sa.util.LRUCache(1_000)


def text_and_values(statement: Any) -> tuple[bytes, dict[str, Any]]:
    """A statement as psycopg takes it, and its values.

    It is written anew only where it has another shape than those before: SQLAlchemy's own sessions do so, too.
    """
    compiled, extracted, collected, *_ = statement._compile_w_cache(DIALECT, compiled_cache=_KNOWN, column_keys=[])  # noqa: SLF001
    values = compiled.construct_params(extracted_parameters=extracted, _collected_params=collected)
    if not compiled.post_compile_params:
        return compiled.string.encode(), values
    # The lists of its `in (...)` have their own lengths.
    lists = compiled._process_parameters_for_postcompile(values)  # noqa: SLF001
    return lists.statement.encode(), lists.parameters


def fetch(conn: Connection, statement: sa.Executable) -> list[Row]:
    """All rows of a select, or of an update with RETURNING."""
    return _fetch(conn, *text_and_values(statement))


def fetch_written(conn: Connection, written: Written, **given: Any) -> list[Row]:
    """The same, of a statement with `bindparam`s, which are given here."""
    return _fetch(conn, written.text, {**written.values, **given})


def _fetch(conn: Connection, text: bytes, values: Mapping[str, Any]) -> list[Row]:
    with conn.cursor(row_factory=as_rows) as cursor:
        set_json_loads(read_json, cursor)
        cursor.execute(text, values)
        return cursor.fetchall() if cursor.pgresult is not None and cursor.pgresult.nfields else []


def cut(column: sa.ColumnElement[Any], most: int) -> sa.Label[Any]:
    """A column of JSON; where that has more than `most` bytes as text, how many."""
    size = sa.func.public.json_bytes(column)
    shown = sa.case((size > most, sa.func.jsonb_build_object(TOO_LARGE, size)), else_=column)
    return shown.label(getattr(column, "name", None))


def queue_table(queue: str) -> sa.TableClause:
    """PGMQ's table of a queue, for reads."""
    return sa.table(
        f"q_{queue}",
        sa.column("msg_id", sa.BigInteger),
        sa.column("read_ct", sa.Integer),
        sa.column("enqueued_at", sa.TIMESTAMP(timezone=True)),
        sa.column("vt", sa.TIMESTAMP(timezone=True)),
        sa.column("message", JSONB),
        sa.column("headers", JSONB),
        schema="pgmq",
    )


def give_reason(conn: Connection, reason: str) -> None:
    """For the audit, in the caller's transaction: why a person changes rows."""
    fetch(conn, sa.select(sa.func.set_config("pgfleet.reason", reason, True)))


def sign(conn: Connection, who: str, reason: str) -> None:
    """For the history, in the caller's transaction: who moves rows, and why."""
    settings = (
        sa.func.set_config("pgfleet.actor", f"console:{who}", True),
        sa.func.set_config("pgfleet.reason", reason, True),
    )
    fetch(conn, sa.select(*settings))
