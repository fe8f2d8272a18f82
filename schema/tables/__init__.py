"""The tables that Python reads or writes by their columns; the SQL files make them, and a test compares both."""

from pgfleet.schema.tables.autoscaler import (
    node_configurations,
    nodes,
    pools,
)
from pgfleet.schema.tables.billing import (
    billed_days,
    billing_history,
    billing_rates,
    usage_daily,
    usage_samples,
    user_credits,
)
from pgfleet.schema.tables.clusters import (
    cluster_events,
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
from pgfleet.schema.tables.metadata import metadata
from pgfleet.schema.tables.reservations import reservations
from pgfleet.schema.tables.runtime import (
    dead_letters,
    offline_sweeps,
    status_history,
)

__all__ = [
    "accounts_to_close",
    "billed_days",
    "billing_history",
    "billing_rates",
    "cluster_breakers",
    "cluster_events",
    "cluster_nodes",
    "clusters",
    "dead_letters",
    "disk_operations",
    "disk_quarantine",
    "disk_snapshots",
    "disks",
    "gpu_types",
    "health_check_failures",
    "hopsworks_clusters",
    "hopsworks_users",
    "metadata",
    "node_configurations",
    "nodes",
    "offline_sweeps",
    "pools",
    "reservations",
    "status_history",
    "usage_daily",
    "usage_samples",
    "user_credits",
    "user_hopsworks_assignments",
]
