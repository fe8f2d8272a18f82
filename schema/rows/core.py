"""Runs SQLAlchemy Core statements on a psycopg connection; the answer is rows."""

import sqlalchemy as sa
from psycopg.types.json import set_json_loads
from sqlalchemy.dialects.postgresql import JSONB

from pgfleet.schema.queue.kernel import Connection, read_json
from pgfleet.schema.rows.kernel import DIALECT
from pgfleet.schema.rows.row import Row, as_rows

FLEET_NOW = sa.func.public.fleet_now(type_=sa.TIMESTAMP(timezone=True))


def fetch(conn: Connection, statement: sa.Executable) -> list[Row]:
    """All rows of a select, or of an update with RETURNING."""
    compiled = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
    with conn.cursor(row_factory=as_rows) as cursor:
        set_json_loads(read_json, cursor)
        cursor.execute(str(compiled).encode(), compiled.params)
        return cursor.fetchall() if cursor.description else []


def queue_table(queue: str) -> sa.TableClause:
    """PGMQ's table of a queue, for reads."""
    return sa.table(
        f"q_{queue}",
        sa.column("msg_id", sa.BigInteger),
        sa.column("read_ct", sa.Integer),
        sa.column("enqueued_at", sa.TIMESTAMP(timezone=True)),
        sa.column("vt", sa.TIMESTAMP(timezone=True)),
        sa.column("message", JSONB),
        schema="pgmq",
    )


def sign(conn: Connection, who: str, reason: str) -> None:
    """For the history, in the caller's transaction: who moves rows, and why."""
    settings = (
        sa.func.set_config("pgfleet.actor", f"console:{who}", True),
        sa.func.set_config("pgfleet.reason", reason, True),
    )
    fetch(conn, sa.select(*settings))
