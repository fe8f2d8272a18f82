"""Nodes that report in, their pools and configurations (015)."""

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Integer, String, Table, Text
from sqlalchemy.dialects.postgresql import ENUM

from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment, utc_moment


def _one_of(name: str, *values: str) -> ENUM:
    return ENUM(*values, name=name, schema="autoscaler", create_type=False)


nodes = Table(
    "nodes",
    metadata,
    Column("id", Integer, primary_key=True, server_default=DEFAULT),
    Column("name", String(255), nullable=False),
    Column("region", String(100), nullable=False),
    Column("ip_address", String(45)),
    Column("description", Text),
    Column(
        "status",
        _one_of("node_status", "ACTIVE", "INACTIVE", "ERROR", "OFFLINE"),
        nullable=False,
        server_default=DEFAULT,
    ),
    Column("api_key_hash", String(64), unique=True),
    utc_moment("last_heartbeat"),
    utc_moment("created_at", server_default=DEFAULT),
    Column("config_hash", String(64)),
    Column("error_message", Text),
    moment("deleted_at"),
    Column("status_reason", Text),
    Column("status_msg_id", BigInteger),
    moment("status_since", nullable=False, server_default=DEFAULT),
    schema="autoscaler",
)

pools = Table(
    "pools",
    metadata,
    Column("id", Integer, primary_key=True, server_default=DEFAULT),
    Column("node_id", Integer, ForeignKey(nodes.c.id, ondelete="CASCADE"), nullable=False),
    Column("oracle_pool_id", String(255), nullable=False, unique=True),
    Column("name", String(255), nullable=False),
    Column("region", String(100), nullable=False),
    Column("min_instances", Integer, server_default=DEFAULT),
    Column("max_instances", Integer, server_default=DEFAULT),
    Column("current_instances", Integer, server_default=DEFAULT),
    Column("status", _one_of("pool_status", "healthy", "warning", "error"), server_default=DEFAULT),
    utc_moment("created_at", server_default=DEFAULT),
    Column("is_active", Boolean, nullable=False, server_default=DEFAULT),
    Column("target_instances", Integer),
    moment("last_reported_at"),
    Column("active_instances", Integer),
    Column("avg_cpu_utilization", Double),
    Column("avg_memory_utilization", Double),
    Column("max_cpu_utilization", Double),
    Column("max_memory_utilization", Double),
    schema="autoscaler",
)

node_configurations = Table(
    "node_configurations",
    metadata,
    Column("id", Integer, primary_key=True, server_default=DEFAULT),
    Column("node_id", Integer, ForeignKey(nodes.c.id, ondelete="CASCADE"), nullable=False),
    Column("yaml_config", Text, nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("is_active", Boolean, server_default=DEFAULT),
    utc_moment("created_at", server_default=DEFAULT),
    schema="autoscaler",
)
