"""The heartbeat worker: nodes, pools and clusters, a whole claim in a few set-based statements.

    node:          INACTIVE --> ACTIVE <--> ERROR      ACTIVE, ERROR <--> OFFLINE
    cluster node:  provisioning --> online <--> error  online, error <--> offline     (operators: maintenance)
    cluster:       initializing --> active, degraded, maintenance, offline, as the health of its nodes has it

A heartbeat moves its node on; silence is found by a sweep, which knows a dead node from a silent queue. What the
statements do is in `schema/142_node_heartbeats.sql`.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta

import structlog

from pgfleet.schema.heartbeat import (
    QUEUE,
    SOURCES,
    AutoscalerHeartbeat,
    ClusterHeartbeat,
    HeartbeatMessage,
    RollUp,
    read,
)
from pgfleet.schema.messages import Sweep
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import Settings
from pgfleet.workers.heartbeat import calls
from pgfleet.workers.heartbeat.calls import SweepReport
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.kind import BulkKind, Remark

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def apply(
    conn: Connection, messages: Sequence[HeartbeatMessage], settings: Settings, *, skip_held: bool
) -> list[Remark]:
    """Heartbeats first: a sweep that was claimed with them must know of them."""
    remarks = []
    for source, model in SOURCES.items():
        placed = [(place, message) for place, message in enumerate(messages) if isinstance(message, model)]
        if placed:
            found = calls.take(conn, source, [message for _, message in placed], skip_held=skip_held)
            remarks += [Remark(placed[place][0], verdict, reason) for place, verdict, reason in found]
    if any(isinstance(message, RollUp) for message in messages):
        calls.roll_up(conn)
    if any(isinstance(message, Sweep) for message in messages):
        sweep(conn, settings, skip_held=skip_held)
    return remarks


def sweep(conn: Connection, settings: Settings, *, skip_held: bool = False) -> None:
    """Look for silent nodes, and report what was seen."""
    silence = timedelta(seconds=settings.node_offline_s)
    intervals, share = settings.cluster_offline_intervals, settings.mass_outage_share
    for report in calls.sweep(conn, silence, intervals, share, skip_held=skip_held):
        metrics.ALIVE.labels(report.machine).set(report.alive - report.marked)
        metrics.HELD_BACK.labels(report.machine).set(report.held_back is not None)
        _log(report)


def _log(report: SweepReport) -> None:
    if report.held_back and report.held_back_since == report.swept_at:
        log.warning("sweep.held_back", machine=report.machine, silent=report.silent, reason=report.held_back)
    elif report.marked:
        log.warning("sweep.marked_offline", machine=report.machine, nodes=report.marked, alive=report.alive)


def key(message: HeartbeatMessage) -> str:
    """A node's number or name; of the clock's messages, their action."""
    return str(message.node_id) if isinstance(message, (AutoscalerHeartbeat, ClusterHeartbeat)) else message.action


KIND = BulkKind(
    name="heartbeat", queue=QUEUE, read=read, key=key, apply=apply, tools=lambda _: nullcontext(), batch=500
)
