"""Heartbeats: one at a time, or as many as a gateway has gathered. Each is checked, then sent.

With a connection they join the caller's transaction; without one they use DATABASE_URL and commit by themselves.
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

from pgfleet.producers.sending import send
from pgfleet.schema.heartbeat import QUEUE, SOURCES, Heartbeat
from pgfleet.schema.messages import BadMessage
from pgfleet.schema.queue.kernel import Connection

SEND_MANY = "select pgmq.send_batch(%s, %s::jsonb[])"


def heartbeat(conn: Connection | None = None, *, source: str = "autoscaler", **fields: Any) -> str:
    """Report for a node; the heartbeat's id. Without an `id` or `sent_at`, a new one and now.

    Raises:
        BadMessage: a field is missing or out of range; nothing was sent.
    """
    if source not in SOURCES:
        raise BadMessage(f"source: {source!r} is not known; known are {', '.join(SOURCES)}")
    fields.setdefault("id", str(uuid.uuid4()))
    fields.setdefault("sent_at", datetime.now(UTC).isoformat())
    message = send(QUEUE, SOURCES[source], {"source": source, **fields}, conn)
    return str(message.id)


def heartbeats(conn: Connection, messages: Sequence[Heartbeat]) -> None:
    """Send many that were checked already, in one statement."""
    bodies = [Jsonb(message.model_dump(mode="json", exclude_none=True)) for message in messages]
    conn.execute(SEND_MANY, (QUEUE, bodies))
