"""Persistent disks (003, 008)."""

from sqlalchemy import Boolean, Column, Date, ForeignKey, Integer, String, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import UUID

from schema.tables.metadata import DEFAULT, metadata, moment
from schema.tables.reservations import reservations

disks = Table(
    "disks",
    metadata,
    Column("disk_id", UUID, primary_key=True, server_default=DEFAULT),
    Column("disk_name", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("size_gb", Integer),
    Column("disk_size", Text),
    moment("created_at", server_default=DEFAULT),
    moment("last_used"),
    Column("in_use", Boolean, server_default=DEFAULT),
    Column("reservation_id", String(255), ForeignKey(reservations.c.reservation_id, ondelete="SET NULL")),
    Column("is_backing_up", Boolean, server_default=DEFAULT),
    Column("is_deleted", Boolean, server_default=DEFAULT),
    Column("delete_date", Date),
    Column("snapshot_count", Integer, server_default=DEFAULT),
    Column("pending_snapshot_count", Integer, server_default=DEFAULT),
    Column("ebs_volume_id", Text),
    moment("last_snapshot_at"),
    Column("operation_id", UUID),
    Column("operation_status", Text),
    Column("operation_error", Text),
    Column("latest_snapshot_content_s3", Text),
    moment("last_updated", server_default=DEFAULT),
    # 008: expiry tracking
    moment("marked_deleted_at"),
    UniqueConstraint("user_id", "disk_name"),
)
