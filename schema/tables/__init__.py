"""Every table of the program, described once for reads; the SQL files make them, and a test compares both."""

from pgfleet.schema.tables.autoscaler import (
    audit_logs,
    autoscaler_users,
    node_configurations,
    node_lifecycle_logs,
    nodes,
    pools,
    schedules,
)
from pgfleet.schema.tables.billing import (
    billed_days,
    billing_history,
    billing_rates,
    usage_daily,
    usage_hours,
    usage_samples,
    user_credits,
)
from pgfleet.schema.tables.clusters import (
    cluster_config_templates,
    cluster_events,
    cluster_metrics,
    cluster_nodes,
    clusters,
)
from pgfleet.schema.tables.disks import disk_operations, disk_quarantine, disk_snapshots, disks
from pgfleet.schema.tables.gpu_types import gpu_types
from pgfleet.schema.tables.hopsworks import (
    accounts_to_close,
    cluster_breakers,
    health_check_failures,
    hopsworks_clusters,
    hopsworks_users,
    user_hopsworks_assignments,
)
from pgfleet.schema.tables.measurements import metrics, node_heartbeats, pool_analytics, system_analytics
from pgfleet.schema.tables.metadata import metadata
from pgfleet.schema.tables.migrations import schema_migrations
from pgfleet.schema.tables.reservations import reservations
from pgfleet.schema.tables.routing import alb_target_groups, domain_mappings
from pgfleet.schema.tables.runtime import (
    dead_letters,
    heartbeat_ids,
    moves,
    offline_sweeps,
    periodic,
    retention,
    status_history,
)
from pgfleet.schema.tables.users import api_keys, api_users

__all__ = [
    "accounts_to_close",
    "alb_target_groups",
    "api_keys",
    "api_users",
    "audit_logs",
    "autoscaler_users",
    "billed_days",
    "billing_history",
    "billing_rates",
    "cluster_breakers",
    "cluster_config_templates",
    "cluster_events",
    "cluster_metrics",
    "cluster_nodes",
    "clusters",
    "dead_letters",
    "disk_operations",
    "disk_quarantine",
    "disk_snapshots",
    "disks",
    "domain_mappings",
    "gpu_types",
    "health_check_failures",
    "heartbeat_ids",
    "hopsworks_clusters",
    "hopsworks_users",
    "metadata",
    "metrics",
    "moves",
    "node_configurations",
    "node_heartbeats",
    "node_lifecycle_logs",
    "nodes",
    "offline_sweeps",
    "periodic",
    "pool_analytics",
    "pools",
    "reservations",
    "retention",
    "schedules",
    "schema_migrations",
    "status_history",
    "system_analytics",
    "usage_daily",
    "usage_hours",
    "usage_samples",
    "user_credits",
    "user_hopsworks_assignments",
]
