"""Clusters of nodes: health, leaders, events (016)."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from pgfleet.schema.tables.metadata import DEFAULT, metadata, moment

# A leader is a node of its own cluster, and a node has a cluster: the key back is made once both tables are there.
_A_NODE_OF_IT = ("clusters.cluster_nodes.cluster_id", "clusters.cluster_nodes.node_id")

clusters = Table(
    "clusters",
    metadata,
    Column("cluster_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("region", Text),
    Column("status", Text, nullable=False, server_default=DEFAULT),
    Column("operator_status", Boolean, nullable=False, server_default=DEFAULT),
    Column("health_score", Double, nullable=False, server_default=DEFAULT),
    Column("config", JSONB, nullable=False, server_default=DEFAULT),
    Column("max_nodes", Integer, nullable=False),
    Column("max_tenants", Integer, nullable=False),
    Column("max_storage_gb", Integer, nullable=False),
    Column("current_tenants", Integer, nullable=False, server_default=DEFAULT),
    Column("primary_node_id", Text),
    Column("coordinator_node_id", Text),
    Column("epoch", BigInteger, nullable=False, server_default=DEFAULT),
    Column("leaderless", Boolean, nullable=False, server_default=DEFAULT),
    Column("last_node_number", Integer, nullable=False, server_default=DEFAULT),
    moment("created_at", nullable=False, server_default=DEFAULT),
    moment("updated_at", nullable=False, server_default=DEFAULT),
    moment("decommissioned_at"),
    Column("status_reason", Text),
    Column("status_msg_id", BigInteger),
    moment("status_since", nullable=False, server_default=DEFAULT),
    ForeignKeyConstraint(
        ["cluster_id", "primary_node_id"], _A_NODE_OF_IT, name="clusters_primary_fkey", use_alter=True
    ),
    ForeignKeyConstraint(
        ["cluster_id", "coordinator_node_id"], _A_NODE_OF_IT, name="clusters_coordinator_fkey", use_alter=True
    ),
    schema="clusters",
)

cluster_nodes = Table(
    "cluster_nodes",
    metadata,
    Column("node_id", Text, primary_key=True),
    Column("cluster_id", Text, ForeignKey(clusters.c.cluster_id), nullable=False),
    Column("node_number", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("region", Text),
    Column("availability_zone", Text),
    Column("hostname", Text),
    Column("ip_address", Text),
    Column("status", Text, nullable=False, server_default=DEFAULT),
    Column("health_status", Text, nullable=False, server_default=DEFAULT),
    Column("capacity_cpu", Double),
    Column("capacity_memory_gb", Double),
    Column("capacity_storage_gb", Double),
    Column("capacity_network_mbps", Double),
    Column("roles", ARRAY(Text), nullable=False, server_default=DEFAULT),
    Column("priority", Integer, nullable=False, server_default=DEFAULT),
    Column("cpu_usage_percent", Double),
    Column("memory_usage_percent", Double),
    Column("disk_usage_percent", Double),
    Column("load_average", Double),
    Column("metrics", JSONB, nullable=False, server_default=DEFAULT),
    Column("config_hash", Text),
    Column("error_message", Text),
    moment("last_heartbeat"),
    moment("created_at", nullable=False, server_default=DEFAULT),
    moment("updated_at", nullable=False, server_default=DEFAULT),
    moment("deleted_at"),
    Column("status_reason", Text),
    Column("status_msg_id", BigInteger),
    moment("status_since", nullable=False, server_default=DEFAULT),
    UniqueConstraint("cluster_id", "node_number"),
    UniqueConstraint("cluster_id", "node_id"),
    schema="clusters",
)

cluster_events = Table(
    "cluster_events",
    metadata,
    Column("event_id", BigInteger, primary_key=True, server_default=DEFAULT),
    Column("cluster_id", Text, ForeignKey(clusters.c.cluster_id, ondelete="CASCADE")),
    Column("node_id", Text, ForeignKey(cluster_nodes.c.node_id, ondelete="CASCADE")),
    Column("event_type", Text, nullable=False),
    Column("severity", Text, nullable=False, server_default=DEFAULT),
    Column("message", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=DEFAULT),
    Column("epoch", BigInteger),
    Column("triggered_by", Text, nullable=False, server_default=DEFAULT),
    moment("created_at", nullable=False, server_default=DEFAULT),
    schema="clusters",
)
