"""Clusters of nodes (document 004): what is asked of them, and as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from pgfleet.producers.http.endpoint import Shape, left_out
from pgfleet.producers.http.paging import Listing
from pgfleet.producers.http.shapes.shown import Json, Shown
from pgfleet.schema.heartbeat import ClusterNodeStatus, ClusterStatus, Metrics
from pgfleet.schema.messages import ONE_LINE, Name

PERCENTS = ("cpu_usage_percent", "memory_usage_percent", "disk_usage_percent")


def _measured(metrics: dict[str, Any]) -> dict[str, Any]:
    """What the node's row has a column for."""
    for name in (*PERCENTS, "load_average"):
        value = metrics.get(name)
        most = 100 if name in PERCENTS else 1_000_000
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 <= value <= most):
            raise ValueError(f"{name} must be a number from 0 to {most:,}")
    return metrics


Count = Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)]
Capacity = Annotated[float, Field(gt=0, le=1e15, allow_inf_nan=False, strict=True)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=255), ONE_LINE]
Epoch = Annotated[int, Field(ge=0, lt=2**63)]
Severity = Literal["debug", "info", "warning", "error", "critical"]


class ClusterFilter(Listing):
    """Which clusters; those that were taken out of use only with `ended`, or by their status."""

    status: ClusterStatus | None = None
    ended: bool = False


class EventsFilter(Listing):
    """Of one severity; of all but `debug` without it."""

    severity: Severity | None = None


class MetricsFilter(Listing):
    node: Name | None = None


class NewCluster(Shape):
    """Limits that are not given are the template's; `config` may hold `healthCheckInterval`, in seconds."""

    name: Name
    description: Annotated[str, StringConstraints(max_length=1000)] | None = None
    region: Line | None = None
    config: Metrics = Field(default_factory=dict)
    max_nodes: Annotated[Count, Field(ge=1)] | None = None
    max_tenants: Count | None = None
    max_storage_gb: Count | None = None
    template: Name = "development"


class Known(Shape):
    """The epoch that the caller knows: under another one it is refused."""

    epoch: Epoch | None = None


class Ending(Known):
    """`force`: with the nodes and tenants that it has."""

    force: bool = False


class NewClusterNode(Known):
    name: Name
    region: Line | None = None
    availability_zone: Line | None = None
    hostname: Line | None = None
    ip_address: Line | None = None
    capacity_cpu: Capacity | None = None
    capacity_memory_gb: Capacity | None = None
    capacity_storage_gb: Capacity | None = None
    capacity_network_mbps: Capacity | None = None
    roles: Annotated[list[Name], Field(min_length=1, max_length=20)] = Field(default_factory=lambda: ["worker"])
    priority: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = 50


class NodeReport(Known):
    """What is not named stays; without `health_status` the metrics decide."""

    status: ClusterNodeStatus = left_out()
    health_status: Literal["healthy", "warning", "critical", "unknown"] = left_out()
    metrics: Annotated[Metrics, AfterValidator(_measured)] = left_out()


class NewMetrics(Known):
    metrics: Metrics
    node_id: Name | None = None


class Cluster(Shown):
    """One of a list, with its nodes counted. `leaderless`: its primary can't lead, and nobody else can."""

    cluster_id: str
    name: str
    region: str | None
    status: str
    status_reason: str | None
    status_since: datetime
    operator_status: bool
    health_score: float
    max_nodes: int
    total_nodes: int
    online_nodes: int
    healthy_nodes: int
    warning_nodes: int
    critical_nodes: int
    offline_nodes: int
    primary_node_id: str | None
    coordinator_node_id: str | None
    epoch: int
    leaderless: bool
    oldest_seen: datetime | None


class ClusterNode(Shown):
    """A node, with what it reported last."""

    node_id: str
    cluster_id: str
    node_number: int
    name: str
    region: str | None
    availability_zone: str | None
    hostname: str | None
    ip_address: str | None
    status: str
    status_reason: str | None
    status_since: datetime
    health_status: str
    capacity_cpu: float | None
    capacity_memory_gb: float | None
    capacity_storage_gb: float | None
    capacity_network_mbps: float | None
    roles: list[str]
    priority: int
    cpu_usage_percent: float | None
    memory_usage_percent: float | None
    disk_usage_percent: float | None
    load_average: float | None
    metrics: Json
    config_hash: str | None
    error_message: str | None
    last_heartbeat: datetime | None
    created_at: datetime
    is_primary: bool = False
    is_coordinator: bool = False


class MadeClusterNode(ClusterNode):
    """`key` is shown this once, and kept nowhere."""

    key: str


class Health(Shown):
    """How many nodes are how, and the score that this makes."""

    total: int
    online: int
    healthy: int
    warning: int
    critical: int
    offline: int
    score: float


class ClusterWhole(Shown):
    """One cluster, as document 004's `get_cluster_info` shows it."""

    cluster_id: str
    name: str
    description: str | None
    region: str | None
    status: str
    status_reason: str | None
    status_since: datetime
    operator_status: bool
    health_score: float
    config: Json
    max_nodes: int
    max_tenants: int
    max_storage_gb: int
    current_tenants: int
    primary_node_id: str | None
    coordinator_node_id: str | None
    epoch: int
    leaderless: bool
    created_at: datetime
    decommissioned_at: datetime | None
    health: Health
    recommendations: list[str]
    nodes: list[ClusterNode]


class HealthOfCluster(Shown):
    """`health`: the state that the score alone would make."""

    cluster_id: str
    name: str
    region: str | None
    status: str
    health_score: float
    health: str
    total_nodes: int
    online_nodes: int
    healthy_nodes: int
    warning_nodes: int
    critical_nodes: int
    offline_nodes: int
    primary_node_id: str | None
    coordinator_node_id: str | None
    epoch: int
    recommendations: list[str]


class HealthSummary(Shown):
    total_clusters: int
    average_score: float
    clusters: list[HealthOfCluster]


class Decommissioned(Shown):
    """`nodes`: how many went with it."""

    cluster_id: str
    status: str
    nodes: int


class Promoted(Shown):
    cluster_id: str
    primary_node_id: str
    previous_primary_node_id: str | None
    epoch: int


class ClusterEvent(Shown):
    event_id: int
    created_at: datetime
    severity: str
    event_type: str
    node_id: str | None
    message: str
    details: Json
    epoch: int | None
    triggered_by: str


class Measured(Shown):
    metric_id: int
    timestamp: datetime
    node_id: str | None
    metrics: Json


class Recorded(Shown):
    metric_id: int
