"""Persistent disks, their snapshots, what is asked of them, and what nobody accounts for (003, 008, 017, 022)."""

from sqlalchemy import BigInteger, Boolean, Column, Date, ForeignKey, Integer, String, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB, UUID

from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment
from pgfleet.schema.tables.reservations import reservations


def _snapshot(name: str) -> ForeignKey:
    """To a snapshot, whose own key leads to its disk: the order of tables does not follow it."""
    return ForeignKey("public.disk_snapshots.snapshot_id", name=name, use_alter=True)


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
    Column("reservation_id", String(255), ForeignKey(reservations.c.reservation_id, ondelete="SET NULL")),
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
    # 017: the machine, and the flags of 003, which its status generates
    Column("status", Text, nullable=False, server_default=DEFAULT),
    Column("status_reason", Text),
    Column("status_msg_id", BigInteger),
    moment("status_since", nullable=False, server_default=DEFAULT),
    Column("ticket", Integer, nullable=False, server_default=DEFAULT),
    Column("ebs_availability_zone", Text),
    Column("in_use", Boolean, server_default=DEFAULT),
    Column("is_backing_up", Boolean, server_default=DEFAULT),
    Column("is_deleted", Boolean, server_default=DEFAULT),
    # 022: its volume, its release, and what the next attachment is made from
    Column("attachment", Integer, nullable=False, server_default=DEFAULT),
    Column("source_snapshot_id", UUID, _snapshot("disks_source_snapshot_id_fkey")),
    Column("next_snapshot_id", UUID, _snapshot("disks_next_snapshot_id_fkey")),
    Column("volume_is_new", Boolean, nullable=False, server_default=DEFAULT),
    moment("volume_missing_since"),
    moment("volume_lost_at"),
    moment("release_asked_at"),
    Column("release_snapshot_id", UUID, _snapshot("disks_release_snapshot_id_fkey")),
    Column("contents", Text),
    moment("contents_at"),
    Column("attach_error", Text),
    Column("data_lost", Text),
    Column("detail", Text),
    UniqueConstraint("user_id", "disk_name"),
    info={"machine": "disk", "shows": "detail"},
)

disk_snapshots = Table(
    "disk_snapshots",
    metadata,
    Column("snapshot_id", UUID, primary_key=True, server_default=DEFAULT),
    Column("disk_id", UUID, ForeignKey(disks.c.disk_id), nullable=False),
    Column("kind", Text, nullable=False, server_default=DEFAULT),
    Column("status", Text, nullable=False, server_default=DEFAULT),
    Column("operation_id", UUID),
    Column("reservation_id", String(255), ForeignKey(reservations.c.reservation_id, ondelete="SET NULL")),
    Column("ebs_volume_id", Text),
    Column("ebs_snapshot_id", Text, unique=True),
    Column("progress_percent", Integer),
    Column("size_gb", Integer),
    Column("content_s3", Text),
    Column("failure_reason", Text),
    moment("created_at", nullable=False, server_default=DEFAULT),
    moment("completed_at"),
    moment("deleted_at"),
    Column("status_reason", Text),
    Column("status_msg_id", BigInteger),
    moment("status_since", nullable=False, server_default=DEFAULT),
    Column("ticket", Integer, nullable=False, server_default=DEFAULT),
    # 022
    Column("copied_from", Text),
    Column("contents", Text),
    moment("missing_since"),
    moment("lost_at"),
    info={"machine": "disk_snapshot", "shows": "failure_reason"},
)

disk_operations = Table(
    "disk_operations",
    metadata,
    Column("operation_id", UUID, primary_key=True),
    Column("action", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("disk_name", Text, nullable=False),
    Column("body", JSONB, nullable=False, server_default=DEFAULT),
    Column("disk_id", UUID, ForeignKey(disks.c.disk_id, ondelete="CASCADE")),
    Column("snapshot_id", UUID, ForeignKey(disk_snapshots.c.snapshot_id, ondelete="SET NULL")),
    Column("status", Text, nullable=False, server_default=DEFAULT),
    Column("error", Text),
    Column("detail", Text),
    moment("created_at", nullable=False, server_default=DEFAULT),
    moment("finished_at"),
    Column("status_reason", Text),
    Column("status_msg_id", BigInteger),
    moment("status_since", nullable=False, server_default=DEFAULT),
    info={"machine": "disk_operation", "shows": "detail"},
)

disk_quarantine = Table(
    "disk_quarantine",
    metadata,
    Column("resource_id", Text, primary_key=True),
    Column("disk_id", UUID),
    Column("snapshot_id", UUID),
    Column("reason", Text, nullable=False),
    moment("found_at", nullable=False, server_default=DEFAULT),
    moment("gone_at"),
)

# Triggers on snapshots and operations write into their disk's row, too: whoever settles locks it first.
for _table in (disks, disk_snapshots, disk_operations):
    _table.info["counts_into"] = (disks, "disk_id")
