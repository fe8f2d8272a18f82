"""Reading reservations for people: one by its id or a prefix of it, lists, timelines, and the lines they wait in."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.line.asking import ask_lines, standings_in, units_ahead
from pgfleet.schema.line.unit import unit_key
from pgfleet.schema.nearest import meant
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.about import Subject, may_read, now
from pgfleet.schema.reads.hold import HOLD, RESERVATIONS_WITH_DISK, WAITS_FOR, wanted_disk
from pgfleet.schema.reads.place import TOLD, Line, Place, far_place, place
from pgfleet.schema.reads.resolve import CANDIDATES, Several, first, only
from pgfleet.schema.reservation import ALIASES, FINAL, MACHINE, QUEUE, WAITING, Status
from pgfleet.schema.rows.core import Written, fetch, fetch_written, queue_table
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.gpu_types import gpu_types
from pgfleet.schema.tables.reservations import reservations
from pgfleet.schema.tables.runtime import dead_letters, status_history

WHOLE = 36  # the letters of a UUID
FIRST_PART = 8  # the digits of a UUID before its first hyphen
RESERVATION = Subject(QUEUE, "reservation_id")
_queue = queue_table(QUEUE)
_is_ours = dead_letters.c.queue == QUEUE
# As the queue's index (180) has it.
_queued_id = sa.func.lower(sa.func.left(_queue.c.message["reservation_id"].astext, WHOLE))
# How many wait (174).
_waiting_reservations = sa.table("waiting_reservations", sa.column("gpu_type"), schema="public")
# Those that have ended and are not gone (180).
_stuck = sa.table("stuck_reservations", sa.column("reservation_id"), schema="public")
_FINAL = [status.value for status in sorted(FINAL)]
_c = reservations.c
_is_stuck = sa.select(_stuck.c.reservation_id).where(_stuck.c.reservation_id == _c.reservation_id).exists()
# What a list tells of each.
LISTED = (
    *(_c.reservation_id, _c.user_id, _c.name, _c.status, _c.status_reason, _c.status_since),
    *(_c.gpu_type, _c.gpu_count, _c.gpus_held, _c.duration_hours, _c.created_at, _c.start_at),
    *(_c.launched_at, _c.expires_at, _c.reservation_ended, _c.current_detailed_status),
    *(_c.failure_reason, _c.warning, _c.pod_name, _c.ssh_command, _c.fqdn, _c.disk_name, _c.retried_from),
    *(_c.master_reservation_id, _c.node_index, _c.total_nodes, _c.secondary_users),
    *(_c.jupyter_enabled, _c.jupyter_url, _c.jupyter_error, _c.idle_minutes, _c.exit_code, _c.exit_reason),
    WAITS_FOR.label("waits_for"),
    wanted_disk.c.size_gb.label("disk_size_gb"),
)
_COLUMNS = (
    *LISTED,
    *(_c.waiting_since, _c.line_number, _c.retry_at, _c.pod_node, _c.requests_done, _c.warnings_sent),
    *(_c.gpus_read_at, _c.gpus_use, _c.idle_since, _c.idle_warned_at, _c.node_ip, _c.node_port, _c.domain_name),
    *(_c.held_since, _c.forced_at, _c.forced_by, _is_stuck.label("is_stuck")),
    wanted_disk.c.status.label("disk_status"),
    # Its pod and home are gone then.
    sa.and_(wanted_disk.c.reservation_id == _c.reservation_id, wanted_disk.c.release_asked_at.is_not(None)).label(
        "disk_released"
    ),
    sa.case((_c.status.in_([status.value for status in sorted(WAITING)]), HOLD)).label("disk_reason_code"),
)


# The shortest beginning that nobody else's id has (178).
_short = sa.func.public.short_reservation_id


class AmbiguousId(FleetError):
    """A prefix that several reservations share; the message lists them."""


@dataclass(frozen=True)
class Filters:
    """Which reservations to list; None is no condition. `status` may be the seed's `running`."""

    user_id: str | None = None
    status: str | None = None
    gpu_type: str | None = None
    ended_too: bool = False
    most: int = 200


def read_status(text: str) -> Status:
    """A state by its name, or by the seed's.

    Raises:
        FleetError: there is no such state; the message lists them.
    """
    if text in ALIASES:
        return ALIASES[text]
    if text not in {status.value for status in Status}:
        raise FleetError(f"{text} is no status of a reservation. {meant(text, [*Status, *ALIASES])}")
    return Status(text)


def by_id(conn: Connection, reservation_id: str) -> Row | None:
    found = fetch_written(conn, _BY_ID, reservation_id=reservation_id)
    return found[0] if found else None


def users_of(conn: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Whose some reservations are, by their ids; those that may not be seen are not in it."""
    rows = fetch(conn, sa.select(_c.reservation_id, _c.user_id).where(_c.reservation_id.in_(ids)))
    return {row["reservation_id"]: row["user_id"] for row in rows}


def gang(conn: Connection, row: Mapping[str, Any]) -> list[Row]:
    """All rows of its gang, node by node; none of a reservation of one node."""
    first_id = row["master_reservation_id"]
    short = _short(_c.reservation_id).label("short_id")
    wanted = rows().add_columns(short).where(_c.master_reservation_id == first_id).order_by(_c.node_index)
    return [] if first_id is None else fetch(conn, wanted)


def logs(conn: Connection, reservation_id: str) -> str | None:
    """The last that its pod wrote; None where nothing is kept."""
    row = first(conn, sa.select(_c.pod_logs).where(_c.reservation_id == reservation_id))
    return None if row is None else row["pod_logs"]


def short(conn: Connection, reservation_id: str) -> str:
    """As much of an id as a person has to type."""
    found: str = conn.execute("select public.short_reservation_id(%s)", (reservation_id,)).fetchone()[0]  # type: ignore[index]  # a select without FROM has a row
    return found


def rows() -> sa.Select[Any]:
    """Each with the disk that it wants."""
    return sa.select(*_COLUMNS).select_from(RESERVATIONS_WITH_DISK)


_BY_ID = Written(rows().where(_c.reservation_id == sa.bindparam("reservation_id", "")))


def resolve(conn: Connection, given: str, user_id: str) -> Row:
    """The reservation of a whole id, whoever owns it, or of a prefix that is unique among the user's.

    Raises:
        AmbiguousId, Refusal: several have this prefix, or none; the message lists what there is. Nothing is no prefix:
            a variable that was never set must not mean the only reservation that somebody has.
    """
    given = _written_out(given.strip().lower())
    if not given:
        raise Refusal(_not_found(given, user_id, []))
    exact = by_id(conn, given)
    if exact is not None:
        return exact
    several = Several(f"{given} is the beginning of several ids of {user_id}", _candidate, error=AmbiguousId)
    owned = only(fetch(conn, _with_prefix(given).where(_c.user_id == user_id)), several)
    if owned is None:
        raise Refusal(_not_found(given, user_id, fetch(conn, _with_prefix(given))))
    return owned


def _written_out(given: str) -> str:
    """With the hyphens of a UUID, where somebody has left them out."""
    if len(given) <= FIRST_PART or not re.fullmatch("[0-9a-f]{1,32}", given):
        return given
    parts = (given[:8], given[8:12], given[12:16], given[16:20], given[20:])
    return "-".join(part for part in parts if part)


def _with_prefix(prefix: str) -> sa.Select[Any]:
    begins = _c.reservation_id.startswith(prefix, autoescape=True)
    return rows().where(begins).order_by(_c.created_at.desc()).limit(CANDIDATES + 1)


def _candidate(row: Row) -> str:
    gpus = f"{row['gpu_count']} x {row['gpu_type']}" if row["gpu_type"] else "never created"
    return f"{row['reservation_id']}  {row['status']:<9}  {gpus}  {row['name'] or ''}"


def asked_for(conn: Connection, given: str, user_id: str) -> str | None:
    """The whole id of what a user has asked for and no worker has made: its message is in the queue, or refused.

    By a whole id, whoever has sent it.
    """
    given = _written_out(given.strip().lower())
    whole = len(given) == WHOLE
    for of, row_id, ours in ((_queue, _queued_id, ()), (dead_letters, dead_letters.c.row_id, (_is_ours,))):
        if not may_read(conn, str(of.schema), of.name):
            continue
        theirs = ours if whole else (*ours, of.c.message["user_id"].astext == user_id)
        begins = row_id == given if whole else row_id.startswith(given, autoescape=True)
        found = fetch(
            conn, sa.select(row_id.label("row_id")).select_from(of).where(begins, *theirs).distinct().limit(2)
        )
        if len(found) == 1 and given:
            return str(found[0]["row_id"])
    return None


def _not_found(given: str, user_id: str, others: list[Row]) -> str:
    text = f"{printable(user_id)} has no reservation whose id begins with {printable(given) or 'nothing'}."
    owners = sorted({row["user_id"] for row in others})
    return f"{text}\n--user {owners[0]} has one." if owners and given else f"{text} See `pgfleet ls --all`."


def listing(conn: Connection, filters: Filters) -> list[Row]:
    """Reservations, newest first; those that are over only if asked for, and ahead of all those that are not gone."""
    if filters.status is None and not filters.ended_too:
        stuck = _c.reservation_id.in_(sa.select(_stuck.c.reservation_id))
        return [*_matching(conn, filters, stuck), *_matching(conn, filters, _c.status.not_in(_FINAL))]
    status = () if filters.status is None else (_c.status == read_status(filters.status).value,)
    return _matching(conn, filters, *status)


def _matching(conn: Connection, filters: Filters, *conditions: sa.ColumnElement[bool]) -> list[Row]:
    found = rows().add_columns(_short(_c.reservation_id).label("short_id")).where(*conditions)
    # The nodes of a gang in their order.
    together = sa.func.coalesce(_c.master_reservation_id, _c.reservation_id)
    statement = found.order_by(_c.created_at.desc(), together, _c.node_index).limit(filters.most)
    if filters.user_id is not None:
        statement = statement.where(_c.user_id == filters.user_id)
    if filters.gpu_type is not None:
        statement = statement.where(_c.gpu_type == filters.gpu_type)
    return fetch(conn, statement)


def moves_since(conn: Connection, history_id: int) -> list[Row]:
    """The moves of all reservations after one, oldest first."""
    h = status_history.c
    columns = (h.history_id, h.row_id, _short(h.row_id).label("short_id"), h.at, h.from_status, h.to_status, h.reason)
    later = (h.machine == MACHINE, h.history_id > history_id)
    return fetch(conn, sa.select(*columns).where(*later).order_by(h.history_id))


def nobody_on_record(conn: Connection, user_id: str) -> bool:
    """Whether it is known that no name at GitHub is on record for a user: not every login may ask."""
    of_user = sa.func.public.github_user_of(user_id)
    may_ask = sa.select(sa.func.has_function_privilege("public.github_user_of(text)", "execute").label("so"))
    return bool(fetch(conn, may_ask)[0]["so"]) and fetch(conn, sa.select(of_user.label("name")))[0]["name"] is None


def types(conn: Connection) -> dict[str, Row]:
    """Every GPU type by its name."""
    g = gpu_types.c
    columns = (
        *(g.gpu_type, g.total_cluster_gpus, g.held_gpus, g.is_active, g.max_gpus, g.max_per_node, g.available_gpus),
        *(g.follows_nodes, g.max_reservable, g.full_nodes_available, g.running_instances, g.desired_capacity),
        *(g.last_availability_update, g.last_availability_updated_by),
    )
    return {row["gpu_type"]: row for row in fetch(conn, sa.select(*columns).order_by(g.gpu_type))}


def place_now(conn: Connection, row: Mapping[str, Any], grace: timedelta) -> tuple[datetime, Place | None]:
    """The database's time, and where a reservation stands if it waits: what a watcher asks again and again.

    Those ahead are counted, and the front of its line is read and planned only where it is told when it starts.
    """
    if row["status"] not in WAITING or row["gpu_type"] is None:
        return now(conn), None
    ahead = units_ahead(conn, unit_key(row))
    far = far_place(row, ahead)
    if far is not None:
        return now(conn), far
    line = lines(conn, [row["gpu_type"]], grace, TOLD).get(row["gpu_type"])
    return now(conn) if line is None else line.now, place(row, line, ahead)


def lines(conn: Connection, names: Iterable[str], grace: timedelta, most: int | None = None) -> dict[str, Line]:
    """The lines of some GPU types as they are now: who waits, in which order, and who will give GPUs back when.

    `grace` follows every expiry. With `most`, only so many from the front, and from those behind who may pass.
    """
    wanted = set(names)
    return lines_of(conn, {name: row for name, row in types(conn).items() if name in wanted}, grace, most)


def lines_of(
    conn: Connection, known: Mapping[str, Row], grace: timedelta, most: int | None, *, brief: bool = False
) -> dict[str, Line]:
    """The same, where the types have been read; if brief, without what others hold of those that nobody waits for."""
    numbers = waiting(conn, known)
    idle = known.keys() - numbers.keys() if brief else set[str]()
    with conn.pipeline():
        answers = ask_lines(conn, known.keys() - idle, most, idle)
    standings = standings_in(answers, grace.total_seconds())
    return {
        name: Line(
            gpu_type=name,
            total=row["total_cluster_gpus"] or 0,
            held=row["held_gpus"],
            is_active=bool(row["is_active"]),
            standing=standing,
            number=numbers.get(name, 0),
        )
        for name, row in known.items()
        if (standing := standings.get(name)) is not None
    }


def waiting(conn: Connection, names: Iterable[str]) -> dict[str, int]:
    """How many wait for each of these types, of everybody: a person may count them without seeing them."""
    w = _waiting_reservations.c
    counted = sa.select(w.gpu_type, sa.func.count().label("number")).where(w.gpu_type.in_(list(names)))
    return {row["gpu_type"]: row["number"] for row in fetch(conn, counted.group_by(w.gpu_type))}
