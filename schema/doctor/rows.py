"""Checks of rows against each other: GPUs and seats as counted and as held, queues."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, ask
from pgfleet.schema.kinds import queues as kinds_by_queue
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.queue import depths
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
GPU_COUNTERS, SEATS, QUEUES = "gpu_counters", "seats", "queues"

# The lock keeps reservations from moving between the count and its writing.
_RECOUNT_GPUS = (
    "begin; lock table public.reservations in share mode; update public.gpu_types g set held_gpus = "
    "(select coalesce(sum(r.gpus_held), 0) from public.reservations r where r.gpu_type = g.gpu_type) "
    "where g.gpu_type = {quoted}; commit"
)
_TOO_MANY_GPUS = (
    "if the cluster has more: update public.gpu_types set total_cluster_gpus = ... where gpu_type = {quoted}; "
    "if not: pgfleet ls --gpu-type {gpu_type}, and pgfleet cancel ID"
)


def gpu_counters(conn: Connection, _: Limits) -> list[Finding]:
    return [finding for row in ask(conn, SQL["gpu_counters"]) for finding in _gpus(row)]


def _gpus(row: Row) -> list[Finding]:
    """Counted wrong, or more than there are, or both."""
    wrong = f"{row['gpu_type']}: {row['counted']} GPUs are counted as held, reservations hold {row['held']}"
    many = f"{row['gpu_type']}: {row['counted']} GPUs are counted as held, of {row['total']}"
    cases = (
        (row["counted"] != row["held"], wrong, _RECOUNT_GPUS),
        (row["total"] is not None and row["counted"] > row["total"], many, _TOO_MANY_GPUS),
    )
    return [Finding(GPU_COUNTERS, Severity.ERROR, text, fix.format(**row)) for is_so, text, fix in cases if is_so]


_RECOUNT_SEATS = "a running assignment worker repairs it within five minutes: pgfleet worker assignment"


def seats(conn: Connection, _: Limits) -> list[Finding]:
    return [_seats(row) for row in ask(conn, SQL["seat_counters"])]


def _seats(row: Row) -> Finding:
    name = printable(row["name"])
    text = f"{name}: {row['counted']} seats are counted as taken, {row['taken']} users are assigned (MISMATCH)"
    return Finding(SEATS, Severity.ERROR, text, _RECOUNT_SEATS)


def queues(conn: Connection, limits: Limits) -> list[Finding]:
    """Queues of other programs in the same database are theirs, but for our dead letters."""
    ours = {row["queue_name"] for row in ask(conn, SQL["our_queues"])}
    depth = [Row({**row, "is_ours": row["queue"] in ours}) for row in depths(conn)]
    return [finding for row in depth for finding in (*_dead(row), *_unconsumed(row, limits))]


def _dead(row: Row) -> list[Finding]:
    if not row["dead"]:
        return []
    remedy = f"pgfleet dead list --queue {row['queue']}"
    return [Finding(QUEUES, Severity.WARNING, f"{row['queue']}: {row['dead']} open dead letters", remedy)]


def _unconsumed(row: Row, limits: Limits) -> list[Finding]:
    late_s = row["oldest_ready_s"] or 0
    if not row["is_ours"] or late_s <= limits.unconsumed_s:
        return []
    text = f"{row['queue']}: {row['ready']} messages wait, the oldest for {late_s:.0f} s: no worker consumes it"
    kind = kinds_by_queue().get(row["queue"])
    remedy = f"pgfleet worker {kind}" if kind else "this version of pgfleet has no worker for it"
    return [Finding(QUEUES, Severity.WARNING, text, remedy)]
