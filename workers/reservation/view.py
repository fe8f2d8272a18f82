"""All that the steps of reservation messages look at, loaded in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pgfleet.schema.gang.nodes import NODES_LIMIT, gang_ids
from pgfleet.schema.line.asking import ask_lines, standings_in
from pgfleet.schema.line.plan import LOOKED_AT
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.messages import Message
from pgfleet.schema.policy.limits import Limits
from pgfleet.schema.queue.kernel import Connection, Cursor
from pgfleet.schema.reservation import (
    QUEUE,
    Admit,
    CreateReservation,
    Extend,
    Request,
    Retry,
    ServeLogs,
    SuspectPod,
    SweepPods,
    SweepStuck,
    Ticket,
    retried_id,
)
from pgfleet.schema.rows.named import named
from pgfleet.schema.rows.row import Row, ask_rows, rows_in, rows_of
from pgfleet.schema.rows.whole import join_by_hash
from pgfleet.schema.settings import Settings
from pgfleet.schema.tables.disks import disks
from pgfleet.schema.tables.gpu_types import gpu_types
from pgfleet.schema.tables.reservations import log_requests, pod_quarantine, reservations
from pgfleet.workers.limits import ask_limits, limits_in
from pgfleet.workers.sweeping import ask_periodic, periodic_in

SQL = named(__package__)
ABOUT_A_ROW = (Request, CreateReservation, Ticket, SuspectPod)


@dataclass(frozen=True, slots=True)
class View:
    """The rows as they are at `now`.

    Attributes:
        lines: for each GPU type asked about, the rows that are booked, and those of the units that stand first in its
            line, in its order, as many as one look may move.
        blocked: the same of those that wait for their disk: they are in nobody's way.
        disks: by (user, name); each with its newest completed snapshot, how far a pending one is, and whom it keeps.
        held: disks by the reservation that they are attached to.
        stuck: the rows that have ended and are not gone, where a sweep asked.
        unended: ids of the rows that may still own something outside, where a sweep asked.
        fingerprints: of their pods as all workers have seen them, by reservation; not of those without their service.
        standings: what the line of each GPU type asked about is planned with.
        quarantined: by uid, pods in quarantine that are still there, where a sweep asked, and those asked about.
        cordoned: nodes on which an operator lets nobody start, and how that is said.
        periodic: the periodic work by its action, where it is its turn.
        limits: of users who ask for reservations or more of one, what they have and the most of it.
        log_requests: who reads along, where that is to be served; their reservations are among the rows.
        github_users: the names at GitHub that are on record for users who named none.
        gangs: by the id of their first row, all rows of the gangs that rows asked about belong to, node by node.
        users_found: some names at GitHub of active reservations: their keys were found.
    """

    now: datetime
    rows: dict[str, Row]
    gpu_types: dict[str, Row]
    lines: dict[str, list[Row]] = field(default_factory=dict)
    blocked: dict[str, list[Row]] = field(default_factory=dict)
    disks: dict[tuple[str, str], Row] = field(default_factory=dict)
    held: dict[str, Row] = field(default_factory=dict)
    stuck: tuple[Row, ...] = ()
    unended: frozenset[str] = frozenset()
    fingerprints: dict[str, str] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    quarantined: dict[str, Row] = field(default_factory=dict)
    cordoned: dict[str, str] = field(default_factory=dict)
    periodic: dict[str, Row] = field(default_factory=dict)
    limits: Limits = field(default_factory=dict)
    github_users: dict[str, str] = field(default_factory=dict)
    gangs: dict[str, list[Row]] = field(default_factory=dict)
    log_requests: dict[str, Row] = field(default_factory=dict)
    users_found: tuple[str, ...] = ()


def load(conn: Connection, messages: Sequence[Message], settings: Settings) -> View:
    """The view of some messages: their rows, every GPU type, and what the lines and sweeps among them need."""
    keys = {key for message in messages for key in _keys(message)}
    lines = {message.gpu_type for message in messages if isinstance(message, Admit)}
    planned = {*lines, *_booked(messages), *_extended(conn, messages)}
    stuck_swept = any(isinstance(message, SweepStuck) for message in messages)
    pods_swept = any(isinstance(message, SweepPods) for message in messages)
    suspects = [message.pod_uid for message in messages if isinstance(message, SuspectPod)]
    askers = sorted(
        {message.user_id for message in messages if isinstance(message, (CreateReservation, Retry, Extend))}
    )
    readers = sorted({message.request_id for message in messages if isinstance(message, ServeLogs)})
    with conn.pipeline():
        if stuck_swept or pods_swept:
            join_by_hash(conn)
        now = conn.execute(SQL["now"])
        rows = ask_rows(conn, reservations, sorted(keys))
        of_gangs = conn.execute(SQL["gangs"], {"keys": sorted(keys)}) if keys else None
        types = conn.execute(SQL["types"])
        places: list[dict[str, Any]] = [{"gpu_type": name, "most": LOOKED_AT} for name in lines]
        asked = {place["gpu_type"]: conn.execute(SQL["line"], place) for place in places}
        blocked = {place["gpu_type"]: conn.execute(SQL["kept"], place) for place in places}
        found = [conn.execute(SQL["disks_of_line"], place) for place in places]
        if keys:
            found.append(conn.execute(SQL["disks"], _named(messages, keys)))
        asked_lines = ask_lines(conn, sorted(planned), LOOKED_AT) if planned else None
        cordoned = conn.execute(SQL["cordoned"])
        seen = conn.execute(SQL["fingerprints"], {"keys": sorted(keys)}) if keys else None
        stuck = conn.execute(SQL["stuck"]) if stuck_swept else None
        unended = conn.execute(SQL["unended"]) if pods_swept else None
        quarantined = conn.execute(SQL["quarantined"], {"uids": suspects}) if pods_swept or suspects else None
        limits = ask_limits(conn, askers) if askers else None
        github = conn.execute(SQL["github_users"], {"users": askers}) if askers else None
        users = conn.execute(SQL["users_found"], {"keys": sorted(keys)}) if keys else None
        periodic = ask_periodic(conn, QUEUE) if pods_swept else None
        reading = conn.execute(SQL["log_requests"], {"requests": readers}) if readers else None
        read = conn.execute(SQL["read_along"], {"requests": readers}) if readers else None
    known = [row for cursor in found for row in rows_in(disks, cursor)]
    gangs: dict[str, list[Row]] = {}
    for row in rows_in(reservations, of_gangs) if of_gangs else ():
        gangs.setdefault(row.master_reservation_id, []).append(row)
    return View(
        now=_one(now),
        rows=rows_of(reservations, rows) | ({row.key: row for row in rows_in(reservations, read)} if read else {}),
        gpu_types={row.key: row for row in rows_in(gpu_types, types)},
        lines={name: list(rows_in(reservations, cursor)) for name, cursor in asked.items()},
        blocked={name: list(rows_in(reservations, cursor)) for name, cursor in blocked.items()},
        disks={(row.user_id, row.disk_name): row for row in known},
        held={row.reservation_id: row for row in known if row.reservation_id is not None},
        stuck=tuple(rows_in(reservations, stuck)) if stuck else (),
        unended=frozenset(row[0] for row in unended) if unended else frozenset(),
        fingerprints={row[0]: row[1] for row in seen} if seen else {},
        standings=standings_in(asked_lines, settings.expiry_grace_s) if asked_lines else {},
        quarantined={row.pod_uid: row for row in rows_in(pod_quarantine, quarantined)} if quarantined else {},
        cordoned=dict(cordoned.fetchall()),
        periodic=periodic_in(periodic),
        limits=limits_in(limits),
        github_users=dict(github.fetchall()) if github else {},
        gangs=gangs,
        log_requests={str(row.key): row for row in rows_in(log_requests, reading)} if reading else {},
        users_found=tuple(row[0] for row in users) if users else (),
    )


def _booked(messages: Sequence[Message]) -> set[str]:
    """The types of which somebody asks to start later: whether that can be promised is seen in their lines."""
    creates = [message for message in messages if isinstance(message, CreateReservation)]
    return {message.gpu_type for message in creates if message.start_at is not None}


def _extended(conn: Connection, messages: Sequence[Message]) -> set[str]:
    """The types of what is to last for longer: others may have been promised its GPUs."""
    ids = [message.reservation_id for message in messages if isinstance(message, Extend)]
    return {row[0] for row in conn.execute(SQL["types_of"], {"keys": ids})} if ids else set()


def _keys(message: Message) -> list[str]:
    """The rows that a message is about, whether they exist or not: those too that it would make."""
    match message:
        case CreateReservation():
            return gang_ids(message.reservation_id, message.total_nodes or 2)
        case Retry():
            return [
                message.reservation_id,
                *gang_ids(retried_id(message.reservation_id, message.request_id), NODES_LIMIT),
            ]
        case _ if isinstance(message, ABOUT_A_ROW):
            return [message.reservation_id]
        case _:
            return []


def _named(messages: Sequence[Message], keys: set[str]) -> dict[str, list[str]]:
    """The disks that new reservations ask for by name, and the rows whose disks are asked for, too."""
    creates = [message for message in messages if isinstance(message, CreateReservation)]
    pairs = [(message.user_id, message.disk_name) for message in creates if message.disk_name is not None]
    return {"users": [user for user, _ in pairs], "names": [name for _, name in pairs], "keys": sorted(keys)}


def _one(cursor: Cursor) -> datetime:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  # a select without FROM has a row
    now: datetime = row[0]
    return now
