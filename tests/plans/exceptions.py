"""What may read more than a few pages, or all of a large table: how much, and why."""

from collections.abc import Mapping
from typing import NamedTuple


class Allowed(NamedTuple):
    """`whole`: how often all of a table may be read; `pages`: so many more; None where it can't be said."""

    reason: str
    whole: Mapping[str, int] = {}
    pages: int | None = 0


SWEEP = "a sweep, once a minute: live rows and their queue are each read once, and joined by hash"
EMPTY = "only with statistics of an empty table, where a third of all rows seems to be meant"
PRUNED = "ten thousand rows are deleted, with what refers to them"
Q_RESERVATIONS, Q_DISKS, Q_SEATS = "pgmq.q_gpu_reservations", "pgmq.q_disk_operations", "pgmq.q_cluster_assignments"
RESERVATIONS, DISKS, SNAPSHOTS = "public.reservations", "public.disks", "public.disk_snapshots"
OPERATIONS, SEATS, USERS = "public.disk_operations", "hopsworks.user_hopsworks_assignments", "hopsworks.users"
CLOSINGS, PODS = "hopsworks.accounts_to_close", "public.gpu_pods"

EXCEPTIONS: Mapping[str, Allowed] = {
    "forgotten reservation": Allowed(SWEEP, {Q_RESERVATIONS: 1, RESERVATIONS: 2}),
    "forgotten disk": Allowed(SWEEP, {Q_DISKS: 1, DISKS: 1}),
    "forgotten disk_snapshot": Allowed(SWEEP, {Q_DISKS: 1, SNAPSHOTS: 3}),
    "forgotten disk_operation": Allowed(SWEEP, {Q_DISKS: 1, OPERATIONS: 1}),
    "forgotten assignment": Allowed(SWEEP, {Q_SEATS: 1, SEATS: 1}),
    "forgotten subscription": Allowed(SWEEP, {"pgmq.q_event_deliveries": 1, "public.event_subscriptions": 1}),
    "workers/assignment: untended": Allowed(SWEEP, {Q_SEATS: 2, SEATS: 3, USERS: 2, CLOSINGS: 1}),
    "workers/assignment: due": Allowed(SWEEP, {Q_SEATS: 1, SEATS: 1}, 2000),
    "workers/assignment: unclosed": Allowed(SWEEP, {Q_SEATS: 1, CLOSINGS: 1}),
    "workers/assignment: split": Allowed(SWEEP, {Q_SEATS: 1, SEATS: 3, USERS: 2}),
    "workers/assignment: counted": Allowed(SWEEP, {SEATS: 1}),
    "workers/assignment: drains": Allowed("when somebody drains a cluster", {Q_SEATS: 1}),
    "workers/disk: untended_operations": Allowed(SWEEP, {Q_DISKS: 2, OPERATIONS: 2}),
    "workers/disk: prunable": Allowed(SWEEP, {DISKS: 1, SNAPSHOTS: 2}, 3000),
    "workers/disk: known_snapshots": Allowed("all that AWS lists is compared with all rows", {SNAPSHOTS: 1}),
    "workers/disk: known_volumes": Allowed("the same", {DISKS: 1}),
    "workers/disk: quarantined": Allowed("the same", {"public.disk_quarantine": 1}),
    "workers/disk: snapshots_of": Allowed(EMPTY, {SNAPSHOTS: 1}),
    "workers/disk: disks_of": Allowed(EMPTY, {DISKS: 1}),
    "workers/disk: recorded": Allowed(EMPTY, {SNAPSHOTS: 1}),
    "workers/disk: snapshots": Allowed(EMPTY, {SNAPSHOTS: 1}),
    "workers/reservation: stuck": Allowed(EMPTY, {RESERVATIONS: 1, DISKS: 1}),
    "schema/line: ends": Allowed(EMPTY, {RESERVATIONS: 1, DISKS: 1}, 3000),
    "schema/line: figures": Allowed(EMPTY, {RESERVATIONS: 1}, 3000),
    "workers/runtime/outside: spans": Allowed(EMPTY, {"public.outages": 1}),
    "page of letters": Allowed(EMPTY, {"public.dead_letters": 1}),
    "page of a queue's letters": Allowed(EMPTY, {"public.dead_letters": 1}),
    "workers/runtime/outside: wake": Allowed(
        "at the end of an outage: what waits for it is sought in all that is due later", {Q_RESERVATIONS: 1}
    ),
    "schema/nodes: waiting": Allowed("before silent nodes are marked offline", {"pgmq.q_node_heartbeats": 1}),
    "figures of now": Allowed(
        "of one process, once a minute: what is in a rare state is sought in all of its table",
        dict.fromkeys((DISKS, SNAPSHOTS, OPERATIONS, SEATS, "public.event_subscriptions"), 6)
        | {"clusters.clusters": 6, "clusters.cluster_nodes": 6, "autoscaler.nodes": 6, RESERVATIONS: 1},
        5000,
    ),
    "workers/assignment/billing: used": Allowed(
        "bills, once a day", {DISKS: 4, USERS: 3, RESERVATIONS: 2, SEATS: 2}, 3000
    ),
    "workers/assignment/billing: open_day": Allowed(
        "once a day: what all have used, by their moves of that day",
        {DISKS: 4, USERS: 3, RESERVATIONS: 3, SEATS: 2, "public.status_history": 1},
        None,
    ),
    "schema/reads/pictures/usage: of_month": Allowed("a month of reservations is drawn", {RESERVATIONS: 1}),
    "page of operations": Allowed("the crowd's thousand are of one moment", {OPERATIONS: 1, SNAPSHOTS: 1}),
    "schema/reads/pictures/queues: depth_over_time": Allowed("a day of figures", {"public.figures": 1}, 20_000),
    "schema/reads/pictures/queues: flow_over_time": Allowed("the same", pages=20_000),
    "schema/reads/pictures/queues: queues": Allowed("each queue is counted up to a number", pages=5_000),
    "schema/reads/pictures/queues: open_letters": Allowed("each queue is counted up to a number", pages=5_000),
    "workers: limits": Allowed("twenty users, each with hundreds of reservations in five weeks", pages=20_000),
    "workers/heartbeat: sweep_cluster_nodes": Allowed(
        "each of the thousand clusters has another score than it is noted with, and is assessed anew",
        {"clusters.clusters": 6, "clusters.cluster_nodes": 3},
        130_000,
    ),
    "schema/reads/pictures/clusters: troubled": Allowed("all clusters are looked at", {"clusters.clusters": 1}),
    "workers/heartbeat: apply_schedules": Allowed("a thousand pools are written", pages=40_000),
    **{
        f"keep {table}": Allowed(PRUNED, pages=60_000)
        for table in (
            *("public.outages", "public.gpu_pods", "hopsworks.usage_samples", "autoscaler.metrics"),
            *("public.figures", "public.requests_answered", "public.disk_operations", "public.dead_letters"),
        )
    },
    **{
        name: Allowed("a thousand who wait, or run, of one moment, are put in order", {RESERVATIONS: 1, PODS: 1}, 9_000)
        for name in (
            *("page of reservations", "page of live reservations", "page of disks"),
            *("workers/reservation: line", "workers/reservation: disks_of_line", "workers/reservation: kept"),
            *("schema/line: fronts", "schema/line: rooms", "schema/line: ahead"),
            "schema/reads/pictures: gpu_nodes",
        )
    },
}
