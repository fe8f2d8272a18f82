"""What is known about one row beside the row itself: its moves, dead letters and queued messages about it, the time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.container import without_secrets
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.core import FLEET_NOW, cut, fetch, queue_table
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.runtime import dead_letters, status_history

_h, _d = status_history.c, dead_letters.c
# Of a message, as text: only what it asks for is shown.
MOST = 65_536


@dataclass(frozen=True, slots=True)
class Subject:
    """How the messages of a queue name the row that they are about: by this field."""

    queue: str
    field: str


def now(conn: Connection) -> datetime:
    """The database's time."""
    moment: datetime = fetch(conn, sa.select(FLEET_NOW.label("now")))[0]["now"]
    return moment


def history(conn: Connection, machine: str, ids: Iterable[str] | sa.Select[Any]) -> list[Row]:
    """Every move of the rows of these ids, oldest first."""
    columns = (_h.at, _h.row_id, _h.from_status, _h.to_status, _h.reason, _h.actor, _h.msg_id)
    chosen = ids if isinstance(ids, sa.Select) else list(ids)
    return fetch(conn, sa.select(*columns).where(_h.machine == machine, _h.row_id.in_(chosen)).order_by(_h.history_id))


def letters(conn: Connection, subject: Subject, row_id: str) -> list[Row]:
    """Dead letters about one row, answered ones too, oldest first.

    Whoever may not read messages but may be told of them (158) sees of each what it asks for; others see none.
    """
    if not may_read(conn, "public", "dead_letters"):
        return _letters_told(conn, subject, row_id)
    columns = (
        _d.dead_letter_id,
        _d.died_at,
        cut(_d.message, MOST),
        _d.reason,
        _d.verdict,
        _d.attempts,
        _d.answer,
        _d.answered_at,
    )
    about = sa.or_(_d.row_id == row_id, _d.message[subject.field].astext == row_id)
    found = fetch(conn, sa.select(*columns).where(_d.queue == subject.queue, about).order_by(_d.dead_letter_id))
    return _shown(found)


def messages(conn: Connection, subject: Subject, row_id: str) -> list[Row]:
    """Messages about one row that are in the queue, by the time they are due.

    Whoever may not read the queue but may be told of it (158) sees of each what it asks for; others see none.
    """
    if not may_read(conn, "pgmq", f"q_{subject.queue}"):
        return _told(conn, subject, row_id)
    q = queue_table(subject.queue).c
    columns = (q.msg_id, q.vt, q.read_ct, cut(q.message, MOST), (q.vt > FLEET_NOW).label("later"))
    about = q.message[subject.field].astext == row_id
    return _shown(fetch(conn, sa.select(*columns).where(about).order_by(q.vt, q.msg_id)))


def _letters_told(conn: Connection, subject: Subject, row_id: str) -> list[Row]:
    if not _may_call(conn, "public.letters_about(text, text)"):
        return []
    columns = ("dead_letter_id", "died_at", "action", "reason", "verdict", "attempts", "answer", "answered_at")
    told = sa.func.public.letters_about(subject.queue, row_id).table_valued(*columns)
    found = fetch(conn, sa.select(*(told.c[name] for name in columns)).order_by(told.c.dead_letter_id))
    return [Row({**row, "message": {"action": row["action"], subject.field: row_id}}) for row in found]


def _may_call(conn: Connection, function: str) -> bool:
    row = conn.execute("select has_function_privilege(%s, 'execute')", (function,)).fetchone()
    return row is not None and bool(row[0])


def _told(conn: Connection, subject: Subject, row_id: str) -> list[Row]:
    if not _may_call(conn, "public.messages_about(text, text, text)"):
        return []
    columns = ("msg_id", "vt", "read_ct", "action", "later")
    told = sa.func.public.messages_about(subject.queue, subject.field, row_id).table_valued(*columns)
    found = fetch(conn, sa.select(*(told.c[name] for name in columns)))
    return [Row({**row, "message": {"action": row["action"], subject.field: row_id}}) for row in found]


def _shown(found: list[Row]) -> list[Row]:
    """Without what people put tokens into: no command that shows messages needs it."""
    return [Row({**row, "message": without_secrets(row["message"])}) for row in found]


def may_read(conn: Connection, schema: str, table: str) -> bool:
    """Whether this login may read the messages of a table."""
    asked = (
        "select has_schema_privilege(n.oid, 'usage') and has_column_privilege(c.oid, 'message', 'select')"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s"
    )
    row = conn.execute(asked, (schema, table)).fetchone()
    return row is None or bool(row[0])


def action_of(record: Row) -> str | None:
    """What a message or a letter asks for; None where its body has no action."""
    body = record["message"]
    return body.get("action") if isinstance(body, dict) else None
