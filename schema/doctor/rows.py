"""Checks of rows: GPUs and seats as counted and as held, what is not gone, queues, and clocks of nodes that are off."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.kinds import queues as kinds_by_queue
from pgfleet.schema.messages import TOO_OLD
from pgfleet.schema.printable import plural, printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.outage import held
from pgfleet.schema.reads.queue import depths
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
GPU_COUNTERS, STUCK, SEATS, QUEUES, CLOCKS = "gpu_counters", "stuck", "seats", "queues", "clocks"

# The lock keeps reservations from moving between the count and its writing.
_RECOUNT_GPUS = (
    "begin; lock table public.reservations in share mode; update public.gpu_types g set held_gpus = "
    "(select coalesce(sum(r.gpus_held), 0) from public.reservations r where r.gpu_type = g.gpu_type) "
    "where g.gpu_type = {quoted}; commit"
)
_TOO_MANY_GPUS = (
    "if the cluster has more: pgfleet types set {gpu_type} --total ...; "
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


def stuck(conn: Connection, _: Limits) -> list[Finding]:
    """Reservations that hold something for longer after their end than they should."""
    return [_stuck(row) for row in ask(conn, SQL["stuck_reservations"])]


def _stuck(row: Row) -> Finding:
    """One that an operator has let go of holds no GPUs; what is left of it is still told."""
    row_id, minutes = row["reservation_id"], row["ended_s"] / 60
    holds = f"holds {row['gpus_held']} x {row['gpu_type']}" if row["gpus_held"] else "is not gone"
    who = f"reservation {printable(row_id)} of {printable(row['user_id'])}"
    waits_for = printable(row["waits_for"] or "nobody has looked what is left of it: pgfleet worker reservation")
    pod = f"kubectl -n {row['namespace']} describe pod {row['pod_name']}" if row["pod_name"] else "see its pod"
    if row["forced_at"] is not None:
        text = f"{who} was released by force, and is not gone: {waits_for}"
        return Finding(STUCK, Severity.WARNING, text, f"{pod}: what keeps it, and whether its node still runs it")
    text = f"{who} ended {minutes:.0f} min ago ({row['status']}) and still {holds}: {waits_for}"
    remedy = f"{pod}; if its node is gone for good: pgfleet release {typed(row_id, 'ID')} --force"
    return Finding(STUCK, Severity.ERROR, text, remedy)


_RECOUNT_SEATS = "a running assignment worker repairs it within five minutes: pgfleet worker assignment"


def seats(conn: Connection, _: Limits) -> list[Finding]:
    return [_seats(row) for row in ask(conn, SQL["seat_counters"])]


def _seats(row: Row) -> Finding:
    name = printable(row["name"])
    text = f"{name}: {row['counted']} seats are counted as taken, {row['taken']} users are assigned (MISMATCH)"
    return Finding(SEATS, Severity.ERROR, text, _RECOUNT_SEATS)


def queues(conn: Connection, limits: Limits) -> list[Finding]:
    """Queues of other programs in the same database are theirs, but for our dead letters."""
    consumed = {row["queue_name"] for row in ask(conn, SQL["consumed_queues"])}
    depth = [Row({**row, "is_consumed": row["queue"] in consumed}) for row in depths(conn)]
    return [finding for row in depth for finding in (*_dead(row), *_too_new(conn, row), *_unconsumed(row, limits))]


def _dead(row: Row) -> list[Finding]:
    """Failures of ours; what a sender has done wrong is told to the sender."""
    if not row["failed"]:
        return []
    remedy = f"pgfleet dead --kind {row['queue']} --verdict failure"
    return [Finding(QUEUES, Severity.WARNING, f"{row['queue']}: {plural(row['failed'], 'open dead letter')}", remedy)]


def _too_new(conn: Connection, row: Row) -> list[Finding]:
    """What producers of a newer version have sent, and workers leave to newer ones."""
    number = held(conn, row["queue"]).get(TOO_OLD, 0) if row["is_consumed"] else 0
    if not number:
        return []
    text = f"{row['queue']}: {plural(number, 'message')} of a newer pgfleet wait for workers of it ({TOO_OLD})"
    return [Finding(QUEUES, Severity.WARNING, text, "bring the workers to the version of those who send")]


def _unconsumed(row: Row, limits: Limits) -> list[Finding]:
    late_s = row["oldest_ready_s"] or 0
    if not row["is_consumed"] or late_s <= limits.unconsumed_s:
        return []
    text = f"{row['queue']}: {row['ready']} messages wait, the oldest for {late_s:.0f} s: no worker consumes it"
    kind = kinds_by_queue().get(row["queue"])
    remedy = f"pgfleet worker {kind}" if kind else "this version of pgfleet has no worker for it"
    return [Finding(QUEUES, Severity.WARNING, text, remedy)]


def clocks(conn: Connection, _: Limits) -> list[Finding]:
    """Nodes of clusters and of the autoscaler together; where all are off by the same, the database's own clock is."""
    off = ask(conn, SQL["skewed_nodes"])
    if not off:
        return []
    names = listed(f"{printable(row['name'])} ({row['row_id']}) is {row['in_words']}" for row in off)
    text = f"{len(off)} nodes have a clock that is off: {names}"
    return [Finding(CLOCKS, Severity.WARNING, text, "set their clocks, or where all are off the database's: NTP does")]
