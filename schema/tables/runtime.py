"""The history of every machine, dead letters (010), and what the offline sweeps saw (020)."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment

status_history = Table(
    "status_history",
    metadata,
    Column("history_id", BigInteger, primary_key=True, server_default=DEFAULT),
    Column("machine", Text, primary_key=True),
    Column("row_id", Text, primary_key=True),
    Column("from_status", Text, nullable=False),
    Column("to_status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("msg_id", BigInteger),
    moment("at", nullable=False, server_default=DEFAULT),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("dead_letter_id", BigInteger, primary_key=True, server_default=DEFAULT),
    Column("queue", Text, nullable=False),
    Column("msg_id", BigInteger, nullable=False),
    Column("row_id", Text),
    Column("message", JSONB),
    Column("headers", JSONB),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=DEFAULT),
    moment("enqueued_at", nullable=False),
    moment("died_at", nullable=False, server_default=DEFAULT),
    moment("answered_at"),
    Column("answer", Text),
    Column("answered_by", Text),
)

offline_sweeps = Table(
    "offline_sweeps",
    metadata,
    Column("machine", Text, primary_key=True),
    moment("swept_at", nullable=False),
    Column("alive", Integer, nullable=False),
    Column("silent", Integer, nullable=False),
    Column("marked", Integer, nullable=False),
    Column("held_back", Text),
    moment("held_back_since"),
    moment("patient_until"),
)
