"""Reading the autoscaler's nodes for people: states, pools, configurations, and what the offline sweep saw."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.errors import FleetError
from pgfleet.schema.heartbeat import NodeStatus
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.resolve import first
from pgfleet.schema.rows.core import FLEET_NOW, fetch
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.autoscaler import node_configurations, nodes, pools
from pgfleet.schema.tables.runtime import offline_sweeps

# The worst first.
ORDER = (NodeStatus.OFFLINE, NodeStatus.ERROR, NodeStatus.ACTIVE, NodeStatus.INACTIVE)
_n, _p, _c, _s = nodes.c, pools.c, node_configurations.c, offline_sweeps.c
_worst = sa.case({status.value: place for place, status in enumerate(ORDER)}, value=sa.cast(_n.status, sa.Text))


@dataclass(frozen=True)
class NodeFilters:
    """Which nodes to list; without a status, all of them."""

    status: NodeStatus | None = None
    deleted_too: bool = False
    most: int = 50
    region: str | None = None
    name: str | None = None  # a part of it
    drift_only: bool = False


def read_node_status(text: str) -> NodeStatus:
    """A state by its name, in capitals or not.

    Raises:
        FleetError: there is no such state; the message lists them.
    """
    if text.upper() not in {status.value for status in NodeStatus}:
        raise FleetError(f"{text} is no status of a node. Known are {', '.join(ORDER)}.")
    return NodeStatus(text.upper())


def listing(conn: Connection, filters: NodeFilters) -> list[Row]:
    """Nodes, the worst first, each with its `pools`, and `drift`: it runs another configuration than it should."""
    return with_pools(conn, fetch(conn, rows(filters).order_by(_worst, _n.name, _n.id).limit(filters.most)))


def with_pools(conn: Connection, found: list[Row]) -> list[Row]:
    """These nodes, each with its `pools` and its `drift`."""
    by_node = defaultdict(list)
    for pool in fetch(conn, _pools([node["id"] for node in found])):
        by_node[pool.pop("node_id")].append(pool)
    return [Row({**node, "drift": _drifts(node), "pools": by_node[node["id"]]}) for node in found]


def by_number(conn: Connection, number: int) -> Row | None:
    """One node, deleted or not, with what operators say of it beside what is listed."""
    said = (_n.ip_address, _n.description, sa.func.timezone("UTC", _n.created_at).label("created_at"))
    found = fetch(conn, rows(NodeFilters(deleted_too=True)).add_columns(*said).where(_n.id == number))
    return next(iter(with_pools(conn, found)), None)


def rows(filters: NodeFilters) -> sa.Select[Any]:
    last_heartbeat = sa.func.timezone("UTC", _n.last_heartbeat)
    return sa.select(
        *(_n.id, _n.name, _n.region, _n.status, _n.status_reason, _n.status_since, _n.error_message),
        last_heartbeat.label("last_heartbeat"),
        age_s(last_heartbeat).label("seen_s"),
        *skew(_n.skews),
        _n.config_hash,
        _expected().label("expected_config_hash"),
        _n.deleted_at,
    ).where(*_wanted(filters))


def _expected() -> sa.ScalarSelect[Any]:
    """The hash of the configuration that a node should run; it has one active at most."""
    return sa.select(_c.config_hash).where(_c.node_id == _n.id, _c.is_active).limit(1).scalar_subquery()


def age_s(moment: Any) -> sa.ColumnElement[float]:
    """How many seconds ago a time was."""
    return sa.cast(sa.extract("epoch", FLEET_NOW - moment), sa.Double)


def skew(skews: Any) -> tuple[sa.ColumnElement[Any], ...]:
    """How many seconds a clock is behind ours, below 0 where it is ahead; and whether that is to be told (147)."""
    far_off = sa.func.public.tells_skew(skews, type_=sa.Boolean)
    return sa.func.public.skew_of(skews, type_=sa.Double).label("skew_s"), far_off.label("clock_is_off")


def _wanted(filters: NodeFilters) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [] if filters.deleted_too else [_n.deleted_at.is_(None)]
    if filters.status is not None:
        conditions.append(_n.status == filters.status.value)
    if filters.region is not None:
        conditions.append(_n.region == filters.region)
    if filters.name is not None:
        conditions.append(_n.name.icontains(filters.name, autoescape=True))
    if filters.drift_only:
        conditions += [_n.last_heartbeat.is_not(None), _n.config_hash.is_distinct_from(_expected())]
        conditions.append(_expected().is_not(None))
    return conditions


def _pools(node_ids: list[int]) -> sa.Select[Any]:
    columns = (_p.node_id, _p.oracle_pool_id, _p.name, _p.status, _p.is_active, _p.current_instances)
    more = (_p.active_instances, _p.target_instances, _p.min_instances, _p.max_instances, _p.last_reported_at)
    return sa.select(*columns, *more).where(_p.node_id.in_(node_ids)).order_by(_p.node_id, _p.oracle_pool_id)


def _drifts(node: Row) -> bool:
    """As the worker has it (142): a node that reports no configuration drifts; one that never reported does not."""
    expected = node["expected_config_hash"]
    return None not in (expected, node["last_heartbeat"]) and node["config_hash"] != expected


def count_nodes(conn: Connection, filters: NodeFilters) -> int:
    """How many nodes there are of those to list, beyond the limit too."""
    number: int = fetch(conn, sa.select(sa.func.count().label("number")).where(*_wanted(filters)).select_from(nodes))[
        0
    ]["number"]
    return number


def counts(conn: Connection) -> dict[str, int]:
    """How many nodes that are not deleted are in each state, the worst first."""
    statement = sa.select(_n.status, sa.func.count().label("number")).where(_n.deleted_at.is_(None)).group_by(_n.status)
    number = {row["status"]: row["number"] for row in fetch(conn, statement)}
    return {status.value: number.get(status.value, 0) for status in ORDER}


def last_sweep(conn: Connection, machine: str) -> Row | None:
    """What the offline sweep of `node` or `cluster_node` saw last; None where it never ran."""
    columns = (_s.swept_at, _s.alive, _s.silent, _s.marked, _s.held_back, _s.held_back_since)
    ages = (age_s(_s.swept_at).label("swept_s"), age_s(_s.held_back_since).label("held_back_s"))
    return first(conn, sa.select(*columns, *ages).where(_s.machine == machine))
