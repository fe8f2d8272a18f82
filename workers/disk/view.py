"""All that the steps of disk messages look at, loaded in one round trip."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import sqlalchemy as sa

from pgfleet.schema.disk import (
    QUEUE,
    SNAPSHOT_TICKETS,
    TICKETS,
    CloneDisk,
    DiskTicket,
    Operation,
    Proceed,
    Prune,
    PruneSnapshot,
    Reconcile,
    SnapshotStatus,
    SnapshotTicket,
    Suspect,
)
from pgfleet.schema.messages import Message, Sweep
from pgfleet.schema.policy.limits import Limits
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row, rows_in
from pgfleet.schema.rows.whole import join_by_hash
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.disks import disk_operations, disk_quarantine, disk_snapshots, disks
from pgfleet.workers.limits import ask_limits, limits_in
from pgfleet.workers.runtime.outcomes import Send
from pgfleet.workers.runtime.tickets import REPAIR_LIMIT, lost
from pgfleet.workers.sweeping import ask_periodic, periodic_in

SQL = named(__package__)
PRUNE_LIMIT = 500

K = TypeVar("K")
V = TypeVar("V")


class Claim(NamedTuple):
    """A row that says it has something, since when it is as it is, and whether AWS has said that it does not."""

    row_id: UUID
    since: datetime
    doubted: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What rows say of AWS, by its ids.

    Attributes:
        quarantined: what is in quarantine, and was still there.
    """

    snapshots: dict[str, Claim] = field(default_factory=dict)
    volumes: dict[str, Claim] = field(default_factory=dict)
    quarantined: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class View:
    """The rows as they are at `now`; ids are text.

    Attributes:
        names: disks by (user, name).
        holders: the status of the reservations that hold disks, by id; one that is gone is not in it.
        live_operations: of each disk, the operations that wait for something.
        copying: the snapshots at AWS that are being copied.
        lost: the tickets that a sweep sends again; `untended` are the operations that it lets go on.
        prunable: the snapshots that retention lets go of, among those asked about.
        known: where a comparison with AWS asked.
        by_resource: rows by what they have at AWS, where a closer look asked; `recorded` volumes had a snapshot.
        periodic: the periodic work by its action, where it is its turn.
        limits: what users who ask for something have, and the most of it.
    """

    now: datetime
    disks: dict[str, Row]
    snapshots: dict[str, Row]
    operations: dict[str, Row]
    names: dict[tuple[str, str], Row] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
    live_operations: dict[str, list[str]] = field(default_factory=dict)
    copying: frozenset[str] = frozenset()
    lost: tuple[Send, ...] = ()
    untended: tuple[str, ...] = ()
    prunable: tuple[str, ...] = ()
    known: Known = field(default_factory=Known)
    by_resource: dict[tuple[str, str], Row] = field(default_factory=dict)
    recorded: frozenset[str] = frozenset()
    periodic: dict[str, Row] = field(default_factory=dict)
    limits: Limits = field(default_factory=dict)

    def snapshots_of(self, disk: Row) -> list[Row]:
        """The disk's own, and of others' those that are taken of its volume just now."""
        volume = disk.ebs_volume_id
        return [
            row
            for row in self.snapshots.values()
            if row.disk_id == disk.disk_id or (volume is not None and row.ebs_volume_id == volume)
        ]

    def newest(self, disk: Row) -> Row | None:
        """The newest completed snapshot of a disk."""
        own = [row for row in self.snapshots_of(disk) if row.disk_id == disk.disk_id]
        completed = [row for row in own if row.status == SnapshotStatus.COMPLETED]
        return max(completed, key=lambda row: (row.completed_at or row.created_at, str(row.snapshot_id)), default=None)


def load(conn: Connection, messages: Sequence[Message], settings: Settings) -> View:
    """The view of some messages: the disks that they are about, with their snapshots, and what sweeps ask for."""
    asked = _asked(messages)
    sweeps = any(isinstance(message, Sweep) for message in messages)
    with conn.pipeline():
        if sweeps or any(isinstance(message, Prune) for message in messages):
            join_by_hash(conn)
        now = conn.execute(SQL["now"])
        found = {name: conn.execute(query, asked) for name, query in ROWS.items()}
        copying = conn.execute(SQL["copying"])
        untended = conn.execute(SQL["untended_operations"], {"most": REPAIR_LIMIT}) if sweeps else ()
        periodic = ask_periodic(conn, QUEUE) if any(isinstance(each, (Prune, Reconcile)) for each in messages) else None
        limits = ask_limits(conn, asked["users"], asked["operations"]) if asked["operations"] else None
        swept = {name: conn.execute(query, params) for name, query, params in _sweeps(messages, asked, settings)}
    by_id = {str(row.disk_id): row for row in rows_in(disks, found["disks"])}
    return View(
        now=now.fetchall()[0][0],
        disks=by_id,
        snapshots={str(row.snapshot_id): row for row in rows_in(disk_snapshots, found["snapshots"])},
        operations={str(row.operation_id): row for row in rows_in(disk_operations, found["operations"])},
        names={(row.user_id, row.disk_name): row for row in by_id.values()},
        holders={row[0]: row[1] for row in found["holders"]},
        live_operations=_grouped((str(row[0]), str(row[1])) for row in found["live_operations"]),
        copying=frozenset(row[0] for row in copying),
        lost=lost(conn, (TICKETS, SNAPSHOT_TICKETS)) if sweeps else (),
        untended=tuple(row[0] for row in untended),
        periodic=periodic_in(periodic),
        limits=limits_in(limits),
        **_swept(swept),
    )


ROWS = {name: SQL[name] for name in ("disks", "snapshots", "operations", "holders", "live_operations")}


def _asked(messages: Sequence[Message]) -> dict[str, list[Any]]:
    asked: dict[str, list[Any]] = {name: [] for name in ("operations", "disks", "snapshots", "users", "names")}
    for message in messages:
        match message:
            case Operation():
                asked["operations"].append(message.operation_id)
                names = [message.source_disk] if isinstance(message, CloneDisk) else []
                for name in (message.disk_name, *names):  # type: ignore[attr-defined]  # every operation has one
                    asked["users"].append(message.user_id)
                    asked["names"].append(name)
            case Proceed():
                asked["operations"].append(message.operation_id)
            case DiskTicket():
                asked["disks"].append(message.disk_id)
            case SnapshotTicket() | PruneSnapshot():
                asked["snapshots"].append(message.snapshot_id)
            case Suspect():
                for name, tag in (("disks", message.disk_id), ("snapshots", message.snapshot_id)):
                    asked[name] += [str(known)] if (known := id_of(tag)) else []
    return asked


def id_of(tag: str | None) -> UUID | None:
    """What a tag says, if it is an id."""
    try:
        return UUID(tag) if tag else None
    except ValueError:
        return None


def _sweeps(
    messages: Sequence[Message], asked: dict[str, list[Any]], settings: Settings
) -> Iterator[tuple[str, bytes, Mapping[str, Any]]]:
    """What some messages ask for besides, by name: query and parameters."""
    kinds = {type(message) for message in messages}
    kept_for = timedelta(seconds=settings.snapshot_kept_s)
    retention = {"kept": settings.snapshots_kept, "kept_for": kept_for, "most": PRUNE_LIMIT}
    if Prune in kinds:
        yield "prunable", SQL["prunable"], {**retention, "snapshots": None}
    if PruneSnapshot in kinds:
        yield "prunable_of", SQL["prunable"], {**retention, "snapshots": asked["snapshots"]}
    if Reconcile in kinds:
        yield from ((name, SQL[name], {}) for name in ("known_snapshots", "known_volumes", "quarantined"))
    resources = [message.resource_id for message in messages if isinstance(message, Suspect)]
    if resources:
        for name in ("quarantine_of", "snapshots_of", "disks_of", "recorded"):
            yield name, SQL[name], {"resources": resources}


def _swept(found: dict[str, Cursor]) -> dict[str, Any]:
    by_resource = {
        **{("quarantine", row.resource_id): row for row in _rows(disk_quarantine, found.get("quarantine_of"))},
        **{("snapshot", row.ebs_snapshot_id): row for row in _rows(disk_snapshots, found.get("snapshots_of"))},
        **{("disk", row.ebs_volume_id): row for row in _rows(disks, found.get("disks_of"))},
    }
    return {
        "prunable": tuple(str(row[0]) for name in ("prunable", "prunable_of") for row in found.get(name, ())),
        "known": Known(
            snapshots={row[0]: Claim(*row[1:]) for row in found.get("known_snapshots", ())},
            volumes={row[0]: Claim(*row[1:]) for row in found.get("known_volumes", ())},
            quarantined=frozenset(row[0] for row in found.get("quarantined", ())),
        ),
        "by_resource": by_resource,
        "recorded": frozenset(row[0] for row in found.get("recorded", ())),
    }


def _rows(table: sa.Table, cursor: Cursor | None) -> Iterator[Row]:
    return rows_in(table, cursor) if cursor is not None else iter(())


def _grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    groups: defaultdict[K, list[V]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return dict(groups)
