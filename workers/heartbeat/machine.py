"""The heartbeat worker: nodes, pools and clusters, a whole claim in a few set-based statements.

    node:          INACTIVE --> ACTIVE <--> ERROR      ACTIVE, ERROR <--> OFFLINE
    cluster node:  provisioning --> online <--> error  online, error <--> offline     (operators: maintenance)
    cluster:       initializing --> active, degraded, maintenance, offline, as the health of its nodes has it

A heartbeat moves its node on; silence is found by a sweep, which knows a dead node from a silent queue. A node is heard
when its heartbeat is enqueued, whatever its own clock says. What the statements do is in
`schema/142_node_heartbeats.sql`.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta

import structlog

from pgfleet.schema.heartbeat import (
    IDS,
    MAY,
    QUEUE,
    SOURCES,
    WHOSE,
    AutoscalerHeartbeat,
    ClusterHeartbeat,
    HeartbeatMessage,
    RollUp,
    read,
)
from pgfleet.schema.messages import Sweep
from pgfleet.schema.nodes.heard import proven_in_queue
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.settings import Settings
from pgfleet.workers.heartbeat import calls
from pgfleet.workers.heartbeat.calls import Silence, SweepReport
from pgfleet.workers.heartbeat.proving import refused
from pgfleet.workers.runtime import metrics
from pgfleet.workers.runtime.kind import BulkKind, Remark
from pgfleet.workers.runtime.task import Task

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def apply(conn: Connection, tasks: Sequence[Task], settings: Settings, *, skip_held: bool) -> list[Remark]:
    """Heartbeats first: a sweep that was claimed with them must know of them."""
    strange = refused(conn, tasks)
    believed = [(place, task) for place, task in enumerate(tasks) if place not in strange]
    remarks = [Remark(place, "reject", reason) for place, reason in strange.items()]
    for source, model in SOURCES.items():
        placed = [(place, task) for place, task in believed if isinstance(task.message, model)]
        if placed:
            heard = [(task.message, task.sent_at) for _, task in placed]
            found = calls.take(conn, source, heard, silence_of(settings), skip_held=skip_held)
            remarks += [Remark(placed[place][0], verdict, reason) for place, verdict, reason in found]
    if any(isinstance(task.message, RollUp) for _, task in believed):
        calls.roll_up(conn)
    if any(isinstance(task.message, Sweep) for _, task in believed):
        sweep(conn, settings, skip_held=skip_held)
    for skew in (remark for remark in remarks if remark.verdict == "skew"):
        log.warning("node.clock_is_off", node=key(tasks[skew.place].message), reason=skew.reason)
    return [remark for remark in remarks if remark.verdict != "skew"]


def silence_of(settings: Settings) -> Silence:
    return Silence(timedelta(seconds=settings.node_offline_s), settings.cluster_offline_intervals)


def sweep(conn: Connection, settings: Settings, *, skip_held: bool = False) -> None:
    """Look for silent nodes, and report what was seen."""
    reports = calls.sweep(
        conn, silence_of(settings), settings.mass_outage_share, proven_in_queue(conn), skip_held=skip_held
    )
    for report in reports:
        metrics.ALIVE.labels(report.machine).set(report.alive - report.marked)
        metrics.HELD_BACK.labels(report.machine).set(report.held_back is not None)
        metrics.BELIEVED_AT.labels(report.machine).set(report.believed_at.timestamp() if report.believed_at else 0)
        _log(report)


def _log(report: SweepReport) -> None:
    if report.held_back and report.held_back_since == report.swept_at:
        log.warning("sweep.held_back", machine=report.machine, silent=report.silent, reason=report.held_back)
    if report.marked:
        belief = {"believed": report.belief} if report.believed_at == report.swept_at else {}
        log.warning("sweep.marked_offline", machine=report.machine, nodes=report.marked, alive=report.alive, **belief)


def key(message: HeartbeatMessage) -> str:
    """A node's number or name; of the clock's messages, their action."""
    return str(message.node_id) if isinstance(message, (AutoscalerHeartbeat, ClusterHeartbeat)) else message.action


KIND = BulkKind(
    name="heartbeat",
    queue=QUEUE,
    read=read,
    key=key,
    ids=IDS,
    whose=WHOSE,
    may=MAY,
    apply=apply,
    tools=lambda *_: nullcontext(),
    batch=500,
)
