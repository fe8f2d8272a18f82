"""Pages of clusters, of what happened to them and of what was measured."""

from dataclasses import dataclass

import sqlalchemy as sa

from pgfleet.schema.heartbeat import ClusterStatus
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.cluster import overview
from pgfleet.schema.reads.pages.keyset import Page, Place, Wanted, page
from pgfleet.schema.tables.clusters import cluster_events, cluster_metrics, clusters

_c, _e, _m = clusters.c, cluster_events.c, cluster_metrics.c
_PLACE = Place(_c.created_at, _c.cluster_id, _c.status_since)
_EVENT = Place(_e.created_at, _e.event_id, _e.created_at)
_METRIC = Place(_m.timestamp, _m.metric_id, _m.timestamp)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which clusters; those that were taken out of use only if asked for."""

    status: ClusterStatus | None = None
    ended_too: bool = False


def listed(conn: Connection, filters: Filters, wanted: Wanted) -> Page:
    """Clusters by when they were made, with their nodes counted; `since`: those whose state has changed.

    Raises:
        BadCursorError: there is no such page.
    """
    statement = overview()
    if filters.status is not None:
        statement = statement.where(_c.status == filters.status.value)
    elif not filters.ended_too:
        statement = statement.where(_c.status != ClusterStatus.DECOMMISSIONING.value)
    return page(conn, statement, _PLACE, wanted)


def events(conn: Connection, cluster_id: str, severity: str | None, wanted: Wanted) -> Page:
    """What happened to a cluster: of one severity, or of all but `debug`.

    Raises:
        BadCursorError: there is no such page.
    """
    columns = (_e.event_id, _e.created_at, _e.severity, _e.event_type, _e.node_id, _e.message, _e.details, _e.epoch)
    which = _e.severity != "debug" if severity is None else _e.severity == severity
    return page(conn, sa.select(*columns, _e.triggered_by).where(_e.cluster_id == cluster_id, which), _EVENT, wanted)


def metrics(conn: Connection, cluster_id: str, node_id: str | None, wanted: Wanted) -> Page:
    """What was measured of a cluster, and of its nodes or of one of them.

    Raises:
        BadCursorError: there is no such page.
    """
    statement = sa.select(_m.metric_id, _m.timestamp, _m.node_id, _m.metrics).where(_m.cluster_id == cluster_id)
    if node_id is not None:
        statement = statement.where(_m.node_id == node_id)
    return page(conn, statement, _METRIC, wanted)
