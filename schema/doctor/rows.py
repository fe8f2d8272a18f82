"""Checks of rows against each other: GPUs and seats as counted and as held, live rows and their messages, queues."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, ask, listed
from pgfleet.schema.kinds import queues as kinds_by_queue
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.queue import depths
from pgfleet.schema.rows.row import Row

GPU_COUNTERS, SEATS, TICKETS, QUEUES = "gpu_counters", "seats", "tickets", "queues"

_GPUS = """
  with held as (
    select gpu_type, sum(gpus_held) as gpus from public.reservations where gpus_held > 0 group by gpu_type
  )
  select g.gpu_type, g.held_gpus as counted, coalesce(h.gpus, 0) as held, g.total_cluster_gpus as total,
    quote_literal(g.gpu_type) as quoted
  from public.gpu_types g left join held h using (gpu_type)
  where g.held_gpus <> coalesce(h.gpus, 0) or g.held_gpus > g.total_cluster_gpus
  order by g.gpu_type
"""
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
    return [finding for row in ask(conn, _GPUS) for finding in _gpus(row)]


def _gpus(row: Row) -> list[Finding]:
    """Counted wrong, or more than there are, or both."""
    wrong = f"{row['gpu_type']}: {row['counted']} GPUs are counted as held, reservations hold {row['held']}"
    many = f"{row['gpu_type']}: {row['counted']} GPUs are counted as held, of {row['total']}"
    cases = (
        (row["counted"] != row["held"], wrong, _RECOUNT_GPUS),
        (row["total"] is not None and row["counted"] > row["total"], many, _TOO_MANY_GPUS),
    )
    return [Finding(GPU_COUNTERS, Severity.ERROR, text, fix.format(**row)) for is_so, text, fix in cases if is_so]


# A seat is a row with a cluster, as the documents count them.
_SEATS = """
  with taken as (
    select hopsworks_cluster_id as id, count(user_id) as seats
    from hopsworks.user_hopsworks_assignments where hopsworks_cluster_id is not null group by hopsworks_cluster_id
  )
  select c.name, c.id, coalesce(c.current_users, 0) as counted, coalesce(t.seats, 0) as taken
  from hopsworks.hopsworks_clusters c left join taken t using (id)
  where coalesce(c.current_users, 0) <> coalesce(t.seats, 0)
  order by c.name, c.id
"""
_RECOUNT_SEATS = "a running assignment worker repairs it within five minutes: pgfleet worker assignment"


def seats(conn: Connection, _: Limits) -> list[Finding]:
    return [_seats(row) for row in ask(conn, _SEATS)]


def _seats(row: Row) -> Finding:
    name = printable(row["name"])
    text = f"{name}: {row['counted']} seats are counted as taken, {row['taken']} users are assigned (MISMATCH)"
    return Finding(SEATS, Severity.ERROR, text, _RECOUNT_SEATS)


# As the sweep looks for them (workers/reservation/view.py): a stale ticket is no message, whatever else is about the
# row is one. A row that has just come may still wait for its producer to send.
_FORGOTTEN = """
  select r.reservation_id, r.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
  from public.reservations r left join public.periodic p on p.name = 'reservation.sweep'
  where r.reservation_ended is null and r.status_since < public.fleet_now() - interval '10 seconds'
    and not exists (
      select from pgmq.q_gpu_reservations q
      where q.message ->> 'reservation_id' = r.reservation_id
        and coalesce(q.message ->> 'ticket', r.ticket::text) = r.ticket::text)
  order by r.status_since, r.reservation_id
"""


def tickets(conn: Connection, _: Limits) -> list[Finding]:
    """An error where the sweep should have seen them by now: then no worker runs."""
    rows = ask(conn, _FORGOTTEN)
    overdue = [row["reservation_id"] for row in rows if row["is_overdue"]]
    recent = [row["reservation_id"] for row in rows if not row["is_overdue"]]
    return [*_forgotten(overdue, Severity.ERROR), *_forgotten(recent, Severity.WARNING)]


def _forgotten(ids: list[str], severity: Severity) -> list[Finding]:
    if not ids:
        return []
    remedy = "a running reservation worker repairs it within a minute: pgfleet worker reservation"
    return [Finding(TICKETS, severity, f"{len(ids)} live reservations without a message: {listed(ids)}", remedy)]


_OURS = "select queue_name from public.fleet_queues"


def queues(conn: Connection, limits: Limits) -> list[Finding]:
    """Queues of other programs in the same database are theirs, but for our dead letters."""
    ours = {row["queue_name"] for row in ask(conn, _OURS)}
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
