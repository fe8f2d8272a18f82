"""Checks of disks: snapshots as counted and as there are, disks that nobody lets go, what waits or is forgotten."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, ask, listed
from pgfleet.schema.printable import printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.row import Row

DISKS = "disks"
WORKER = "a running disk worker repairs it within a minute: pgfleet worker disk"


def disks(conn: Connection, _: Limits) -> list[Finding]:
    return [
        *(_counted(row) for row in ask(conn, _COUNTERS)),
        *(_held(row) for row in ask(conn, _HELD)),
        *_slow(ask(conn, _SLOW)),
        *_quarantined(ask(conn, _QUARANTINED)),
        *(finding for what, query in _FORGOTTEN.items() for finding in _unattended(what, ask(conn, query))),
    ]


_COUNTERS = """
  with there as (
    select disk_id, count(*) filter (where status = 'completed') as completed,
      count(*) filter (where status in ('pending', 'creating')) as pending
    from public.disk_snapshots group by disk_id
  )
  select d.disk_name, d.user_id, quote_literal(d.disk_id::text) as quoted,
    coalesce(d.snapshot_count, 0) as counted, coalesce(t.completed, 0) as completed,
    coalesce(d.pending_snapshot_count, 0) as counted_pending, coalesce(t.pending, 0) as pending
  from public.disks d left join there t using (disk_id)
  where coalesce(d.snapshot_count, 0) <> coalesce(t.completed, 0)
    or coalesce(d.pending_snapshot_count, 0) <> coalesce(t.pending, 0)
  order by d.user_id, d.disk_name
"""
# The lock keeps snapshots from moving between the count and its writing.
_RECOUNT = (
    "begin; lock table public.disk_snapshots in share mode; update public.disks d set (snapshot_count, "
    "pending_snapshot_count) = (select count(*) filter (where s.status = 'completed'), count(*) filter (where s.status "
    "in ('pending', 'creating')) from public.disk_snapshots s where s.disk_id = d.disk_id) "
    "where d.disk_id = {quoted}; commit"
)


def _counted(row: Row) -> Finding:
    text = (
        f"{_name(row)}: {row['counted']} snapshots and {row['counted_pending']} pending ones are counted, there are "
        f"{row['completed']} and {row['pending']}"
    )
    return Finding(DISKS, Severity.ERROR, text, _RECOUNT.format(**row))


def _name(row: Row) -> str:
    return f"{printable(row['disk_name'])} of {printable(row['user_id'])}"


# After the end of its reservation a disk is let go by the worker, at once; here it was never asked to.
_HELD = """
  select d.disk_name, d.user_id, d.disk_id::text, d.reservation_id,
    extract(epoch from public.fleet_now() - coalesce(r.reservation_ended, r.status_since))::float8 / 3600 as hours
  from public.disks d left join public.reservations r using (reservation_id)
  where d.status = 'attached' and d.release_asked_at is null
    and (r.reservation_id is null or r.status in ('expired', 'cancelled', 'failed')
      and coalesce(r.reservation_ended, r.status_since) < public.fleet_now() - interval '1 hour')
  order by d.user_id, d.disk_name
"""


def _held(row: Row) -> Finding:
    gone = row["reservation_id"] is None
    short = (row["reservation_id"] or "")[:8]
    why = "its reservation is gone" if gone else f"its reservation {short} ended {row['hours']:.0f} h ago"
    remedy = f"pgfleet disk unlock {typed(row['disk_name'], 'NAME')} --user {typed(row['user_id'], 'USER')}"
    return Finding(DISKS, Severity.WARNING, f"{_name(row)} is attached, and {why}", remedy)


_SLOW = """
  select d.disk_name, d.user_id, s.snapshot_id::text
  from public.disk_snapshots s join public.disks d using (disk_id)
  where s.status in ('pending', 'creating') and s.created_at < public.fleet_now() - interval '1 day'
  order by s.created_at, s.snapshot_id
"""


def _slow(rows: list[Row]) -> list[Finding]:
    if not rows:
        return []
    first = rows[0]
    told = listed(f"{row['snapshot_id'][:8]} ({_name(row)})" for row in rows)
    text = f"{len(rows)} snapshots are not completed after more than a day: {told}"
    remedy = f"pgfleet disk show {typed(first['disk_name'], 'NAME')} --user {typed(first['user_id'], 'USER')}"
    return [Finding(DISKS, Severity.WARNING, text, f"{remedy} says how far it is; what holds it up is with AWS")]


_QUARANTINED = """
  select resource_id from public.disk_quarantine where gone_at is null order by found_at, resource_id
"""


def _quarantined(rows: list[Row]) -> list[Finding]:
    if not rows:
        return []
    told = listed(printable(row["resource_id"]) for row in rows)
    text = f"{len(rows)} volumes or snapshots at AWS are accounted for by no row: {told}"
    return [Finding(DISKS, Severity.WARNING, text, "pgfleet disk quarantine says why, and how to delete them")]


# As the sweep looks for them (workers/disk/queries.py). A row that has just come may still wait for its producer to
# send; an operation, for a worker to look whether anybody knows its disk.
_FORGOTTEN = {
    "disks": """
      select d.disk_id::text as id,
        d.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
      from public.disks d left join public.periodic p on p.name = 'disk.sweep'
      where (d.status in ('creating', 'deleted') or d.status = 'attached'
          and (d.ebs_volume_id is null or d.volume_is_new or d.release_asked_at is not null))
        and d.status_since < public.fleet_now() - interval '10 seconds'
        and not exists (
          select from pgmq.q_disk_operations q
          where q.message ->> 'disk_id' = d.disk_id::text and q.message ->> 'ticket' = d.ticket::text)
      order by d.status_since, d.disk_id
    """,
    "snapshots": """
      select s.snapshot_id::text as id,
        s.status_since < public.fleet_now() - 2 * coalesce(p.every, '60 seconds') as is_overdue
      from public.disk_snapshots s left join public.periodic p on p.name = 'disk.sweep'
      where s.status in ('pending', 'creating', 'deleting')
        and s.status_since < public.fleet_now() - interval '10 seconds'
        and not exists (
          select from pgmq.q_disk_operations q
          where q.message ->> 'snapshot_id' = s.snapshot_id::text and q.message ->> 'ticket' = s.ticket::text)
      order by s.status_since, s.snapshot_id
    """,
    "operations": """
      select o.operation_id::text as id,
        o.status_since < public.fleet_now() - 3 * coalesce(p.every, '60 seconds') as is_overdue
      from public.disk_operations o left join public.periodic p on p.name = 'disk.sweep'
      where o.status = 'pending' and o.status_since < public.fleet_now() - interval '60 seconds'
        and not exists (
          select from pgmq.q_disk_operations q where q.message ->> 'operation_id' = o.operation_id::text)
      order by o.status_since, o.operation_id
    """,
}


def _unattended(what: str, rows: list[Row]) -> list[Finding]:
    """An error where the sweep should have seen them by now: then no worker runs."""
    overdue = [row["id"] for row in rows if row["is_overdue"]]
    recent = [row["id"] for row in rows if not row["is_overdue"]]
    return [*_forgotten(what, overdue, Severity.ERROR), *_forgotten(what, recent, Severity.WARNING)]


def _forgotten(what: str, ids: list[str], severity: Severity) -> list[Finding]:
    if not ids:
        return []
    return [Finding(DISKS, severity, f"{len(ids)} live {what} without a message: {listed(ids)}", WORKER)]
