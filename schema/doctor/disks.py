"""Checks of disks: snapshots as counted and as there are, disks that nobody lets go, what waits."""

from pgfleet.schema.doctor.findings import Finding, Limits, Severity, listed
from pgfleet.schema.printable import printable, typed
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named
from pgfleet.schema.rows.row import Row

SQL = named(__package__)
DISKS = "disks"


def disks(conn: Connection, _: Limits) -> list[Finding]:
    return [
        *(_counted(row) for row in ask(conn, SQL["snapshot_counters"])),
        *(_held(row) for row in ask(conn, SQL["held_disks"])),
        *(_released(row) for row in ask(conn, SQL["slow_releases"])),
        *_slow(ask(conn, SQL["slow_snapshots"])),
        *_quarantined(ask(conn, SQL["quarantined"])),
    ]


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


def _held(row: Row) -> Finding:
    gone = row["reservation_id"] is None
    short = row["reservation_short_id"]
    why = "its reservation is gone" if gone else f"its reservation {short} ended {row['hours']:.0f} h ago"
    remedy = f"pgfleet disk unlock {typed(row['disk_name'], 'NAME')} --user {typed(row['user_id'], 'USER')}"
    return Finding(DISKS, Severity.WARNING, f"{_name(row)} is attached, and {why}", remedy)


def _released(row: Row) -> Finding:
    """Its volume may still be written to, so nothing takes it from whoever has it."""
    text = (
        f"{_name(row)} has been in release for {row['hours']:.0f} h: {printable(row['detail'] or 'nothing is known')}"
    )
    remedy = f"pgfleet disk show {typed(row['disk_name'], 'NAME')} --user {typed(row['user_id'], 'USER')}"
    return Finding(
        DISKS, Severity.WARNING, text, f"{remedy}; if the machine that has its volume is gone, end it at AWS"
    )


def _slow(rows: list[Row]) -> list[Finding]:
    if not rows:
        return []
    first = rows[0]
    names = listed(f"{row['snapshot_id'][:8]} ({_name(row)})" for row in rows)
    text = f"{len(rows)} snapshots are not completed after more than a day: {names}"
    remedy = f"pgfleet disk show {typed(first['disk_name'], 'NAME')} --user {typed(first['user_id'], 'USER')}"
    return [Finding(DISKS, Severity.WARNING, text, f"{remedy} says how far it is; what holds it up is with AWS")]


def _quarantined(rows: list[Row]) -> list[Finding]:
    if not rows:
        return []
    names = listed(printable(row["resource_id"]) for row in rows)
    text = f"{len(rows)} volumes or snapshots at AWS are accounted for by no row: {names}"
    return [Finding(DISKS, Severity.WARNING, text, "pgfleet disk quarantine says why, and how to delete them")]
