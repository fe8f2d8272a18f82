"""What tests of the disk commands share: disks, snapshots and operations as rows, moved as the worker would."""

from typing import Any

from psycopg.types.json import Jsonb

from worlds.database import Connection
from worlds.fleet import new_id

QUEUE = "disk_operations"
# What a terminal would obey, and what rich would.
HOSTILE = "[red]x[/]\n\x1b[31mred\x07 \u202egnp.exe"
HARMLESS = "[red]x[/] [31mred gnp.exe"
ROADS = {
    "creating": (),
    "failed": ("failed",),
    "available": ("available",),
    "attached": ("available", "attached"),
    "deleted": ("available", "deleted"),
    "purged": ("available", "deleted", "purged"),
}
SNAPSHOT_ROADS = {
    "pending": (),
    "creating": ("creating",),
    "completed": ("creating", "completed"),
    "deleting": ("creating", "completed", "deleting"),
    "failed": ("failed",),
}
# Without their triggers: to give up all snapshots of a disk is what one of them refuses.
CLEAN = """
begin;
create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe
as 'select statement_timestamp()';
set local session_replication_role = replica;
delete from public.disks;
delete from public.disk_snapshots;
delete from public.disk_operations;
delete from public.disk_quarantine;
delete from public.reservations;
delete from public.dead_letters;
delete from public.status_history;
delete from pgmq.q_disk_operations;
delete from pgmq.q_gpu_reservations;
update public.gpu_types set held_gpus = 0 where held_gpus > 0;
commit;
"""


def clean(conn: Connection) -> None:
    conn.execute(CLEAN)


def _change(conn: Connection, table: str, key: str, row_id: str, columns: dict[str, Any]) -> None:
    sets = ", ".join(f"{column} = %({column})s" for column in columns)
    query = f"update public.{table} set {sets} where {key} = %(row_id)s"
    conn.execute(query.encode(), {"row_id": row_id, **columns})


def change_disk(conn: Connection, disk_id: str, **columns: Any) -> str:
    _change(conn, "disks", "disk_id", disk_id, columns)
    return disk_id


def change_snapshot(conn: Connection, snapshot_id: str, **columns: Any) -> str:
    _change(conn, "disk_snapshots", "snapshot_id", snapshot_id, columns)
    return snapshot_id


def disk(conn: Connection, name: str = "data", status: str = "available", user: str = "ada", **columns: Any) -> str:
    """A disk, moved to a state as the machine allows; its id."""
    disk_id = str(columns.pop("disk_id", new_id()))
    conn.execute(
        "insert into public.disks (disk_id, disk_name, user_id, size_gb) values (%s, %s, %s, 100)",
        (disk_id, name, user),
    )
    for stop in ROADS[status]:
        owner = columns.pop("reservation_id", None) if stop == "attached" else None
        change_disk(conn, disk_id, status=stop, status_reason=f"why {stop}", reservation_id=owner)
    if status == "deleted":
        columns = {"marked_deleted_at": "2026-11-01T12:00:00Z", **columns}
    return change_disk(conn, disk_id, **columns) if columns else disk_id


def snapshot(conn: Connection, disk_id: str, status: str = "completed", **columns: Any) -> str:
    """A snapshot, moved to a state as the machine allows; its id."""
    snapshot_id = str(columns.pop("snapshot_id", new_id()))
    conn.execute(
        "insert into public.disk_snapshots (snapshot_id, disk_id) values (%s, %s)",
        (snapshot_id, disk_id),
    )
    for stop in SNAPSHOT_ROADS[status]:
        at = {"completed_at": "2026-11-20T12:00:00Z"} if stop == "completed" else {}
        change_snapshot(conn, snapshot_id, status=stop, **at)
    return change_snapshot(conn, snapshot_id, **columns) if columns else snapshot_id


def operation(conn: Connection, status: str = "pending", **columns: Any) -> str:
    """An operation, moved to a state as the machine allows; its id."""
    row = {"operation_id": new_id(), "action": "create_disk", "user_id": "ada", "disk_name": "data", "body": {}}
    row |= {name: columns.pop(name) for name in tuple(columns) if name in row}
    names = ", ".join(row)
    values = ", ".join(f"%({name})s" for name in row)
    query = f"insert into public.disk_operations ({names}) values ({values})"
    conn.execute(query.encode(), {**row, "body": Jsonb(row["body"])})
    moved = columns if status == "pending" else {"status": status, **columns}
    return change_operation(conn, row["operation_id"], **moved) if moved else str(row["operation_id"])


def change_operation(conn: Connection, operation_id: Any, **columns: Any) -> str:
    _change(conn, "disk_operations", "operation_id", operation_id, columns)
    return str(operation_id)


def reservation(conn: Connection, status: str = "queued", disk_name: str | None = "data", **columns: Any) -> str:
    """A reservation of two h100; an active one holds its GPUs."""
    row = {
        "reservation_id": new_id(),
        "user_id": "ada",
        "gpu_type": "h100",
        "gpu_count": 2,
        "duration_hours": 4,
        "disk_name": disk_name,
        "current_detailed_status": "NO_CAPACITY: none free",
        **columns,
    }
    names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    query = f"insert into public.reservations (status, created_at, {names}) values ('pending', now(), {values})"
    conn.execute(query.encode(), row)
    for stop in {"pending": (), "queued": ("queued",), "active": ("preparing", "active")}.get(status, (status,)):
        _change(conn, "reservations", "reservation_id", str(row["reservation_id"]), {"status": stop})
    return str(row["reservation_id"])


def bury(conn: Connection, body: Any, reason: str = "given up") -> int:
    row = conn.execute(
        "insert into public.dead_letters (queue, msg_id, message, reason, enqueued_at)"
        " values (%s, 1, %s, %s, now()) returning dead_letter_id",
        (QUEUE, Jsonb(body), reason),
    ).fetchone()
    assert row is not None
    return int(row[0])


def bodies(conn: Connection) -> list[dict[str, Any]]:
    return [row[0] for row in conn.execute("select message from pgmq.q_disk_operations order by msg_id")]
