"""Reminders (050)."""

from sqlalchemy import Column, Integer, Table, Text
from sqlalchemy.dialects.postgresql import UUID

from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment

reminders = Table(
    "reminders",
    metadata,
    Column("reminder_id", UUID, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("note", Text, nullable=False),
    moment("due_at", nullable=False),
    Column("detail", Text),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("status_msg_id", Integer),
    moment("status_since", nullable=False, server_default=DEFAULT),
    Column("ticket", Integer, nullable=False, server_default=DEFAULT),
    # Where a row shows what it waits for.
    info={"shows": "detail"},
)
