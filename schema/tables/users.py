"""People and their API keys (001)."""

from sqlalchemy import TIMESTAMP, Boolean, Column, ForeignKey, Integer, String, Table, Text

from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment

api_users = Table(
    "api_users",
    metadata,
    Column("user_id", Integer, primary_key=True, server_default=DEFAULT),
    Column("username", String(255), nullable=False, unique=True),
    Column("email", String(255)),
    Column("created_at", TIMESTAMP, server_default=DEFAULT),
    Column("is_active", Boolean, server_default=DEFAULT),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Integer, primary_key=True, server_default=DEFAULT),
    Column("user_id", Integer, ForeignKey(api_users.c.user_id, ondelete="CASCADE"), nullable=False),
    Column("key_hash", String(128), nullable=False, unique=True),
    Column("key_prefix", String(16), nullable=False),
    moment("created_at", server_default=DEFAULT),
    moment("expires_at"),
    moment("last_used_at"),
    Column("is_active", Boolean, server_default=DEFAULT),
    Column("description", Text),
)
