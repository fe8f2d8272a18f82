"""What nodes and pools reported, and what was counted of it (015): partitioned by day but for the system's own."""

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Integer, String, Table, Text
from sqlalchemy.dialects.postgresql import UUID

from pgfleet.schema.tables.autoscaler import nodes, pools
from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment, utc_moment

metrics = Table(
    "metrics",
    metadata,
    Column("id", BigInteger, primary_key=True, server_default=DEFAULT),
    Column("node_id", Integer, ForeignKey(nodes.c.id, ondelete="CASCADE"), nullable=False),
    Column("pool_id", Integer, ForeignKey(pools.c.id, ondelete="CASCADE")),
    Column("metric_type", String(100), nullable=False),
    Column("value", Double, nullable=False),
    Column("unit", String(50), nullable=False),
    utc_moment("timestamp", primary_key=True, server_default=DEFAULT),
    schema="autoscaler",
)

node_heartbeats = Table(
    "node_heartbeats",
    metadata,
    Column("id", BigInteger, primary_key=True, server_default=DEFAULT),
    Column("node_id", Integer, ForeignKey(nodes.c.id, ondelete="CASCADE"), nullable=False),
    Column("config_hash", String(64)),
    Column("status", String(50), nullable=False),
    Column("error_message", Text),
    Column("metrics_data", Text),
    utc_moment("timestamp", primary_key=True, server_default=DEFAULT),
    Column("heartbeat_id", UUID),
    moment("sent_at"),
    schema="autoscaler",
)

pool_analytics = Table(
    "pool_analytics",
    metadata,
    Column("id", BigInteger, primary_key=True, server_default=DEFAULT),
    Column("pool_id", Integer, ForeignKey(pools.c.id, ondelete="CASCADE"), nullable=False),
    Column("node_id", Integer, ForeignKey(nodes.c.id, ondelete="CASCADE"), nullable=False),
    Column("oracle_pool_id", String(255), nullable=False),
    utc_moment("timestamp", primary_key=True, server_default=DEFAULT),
    Column("current_instances", Integer, nullable=False),
    Column("active_instances", Integer, nullable=False),
    Column("avg_cpu_utilization", Double, nullable=False),
    Column("avg_memory_utilization", Double, nullable=False),
    Column("max_cpu_utilization", Double),
    Column("max_memory_utilization", Double),
    Column("pool_status", String(50), server_default=DEFAULT),
    Column("is_active", Boolean, server_default=DEFAULT),
    Column("scaling_event", String(100)),
    Column("scaling_reason", Text),
    schema="autoscaler",
)

system_analytics = Table(
    "system_analytics",
    metadata,
    Column("id", Integer, primary_key=True, server_default=DEFAULT),
    utc_moment("timestamp", server_default=DEFAULT),
    Column("total_active_pools", Integer, server_default=DEFAULT),
    Column("total_current_instances", Integer, server_default=DEFAULT),
    Column("total_active_instances", Integer, server_default=DEFAULT),
    Column("avg_system_cpu", Double, server_default=DEFAULT),
    Column("avg_system_memory", Double, server_default=DEFAULT),
    Column("max_system_cpu", Double, server_default=DEFAULT),
    Column("max_system_memory", Double, server_default=DEFAULT),
    Column("peak_instances_24h", Integer, server_default=DEFAULT),
    Column("max_active_pools_24h", Integer, server_default=DEFAULT),
    Column("active_nodes", Integer, server_default=DEFAULT),
    schema="autoscaler",
)
