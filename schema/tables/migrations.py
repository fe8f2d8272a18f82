"""Which SQL files this database has seen; made and written by `schema.migrate`."""

from sqlalchemy import Column, Table, Text

from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment

schema_migrations = Table(
    "schema_migrations",
    metadata,
    Column("version", Text, primary_key=True),
    moment("applied_at", server_default=DEFAULT),
    Column("checksum", Text),
)
