"""Kinds of machines that can be reserved (004, 009)."""

from sqlalchemy import Boolean, Column, Integer, String, Table, Text

from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment

gpu_types = Table(
    "gpu_types",
    metadata,
    Column("gpu_type", String(50), primary_key=True),
    Column("instance_type", String(100), nullable=False),
    Column("max_gpus", Integer, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("memory_gb", Integer, nullable=False),
    Column("total_cluster_gpus", Integer, server_default=DEFAULT),
    Column("max_per_node", Integer),
    Column("is_active", Boolean, server_default=DEFAULT),
    moment("created_at", server_default=DEFAULT),
    moment("updated_at", server_default=DEFAULT),
    Column("description", Text),
    # 009: availability, the updater's
    Column("available_gpus", Integer),
    Column("max_reservable", Integer),
    Column("full_nodes_available", Integer),
    Column("running_instances", Integer),
    Column("desired_capacity", Integer),
    moment("last_availability_update"),
    Column("last_availability_updated_by", String(100)),
    # 011: GPUs that reservations hold
    Column("held_gpus", Integer, nullable=False, server_default=DEFAULT),
)
