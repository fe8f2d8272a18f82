"""(new) -> pending: a reservation that somebody asks for, and one that is asked for again."""

from collections.abc import Sequence
from typing import Any

from pgfleet.schema.gang.asked import row_of, spread
from pgfleet.schema.gang.nodes import gang_ids, gang_name, nodes_of
from pgfleet.schema.line.booking import book, out_of_reach, unit_asked_for
from pgfleet.schema.messages import BadMessage, read_message
from pgfleet.schema.policy.limits import beyond, idle_minutes, refused
from pgfleet.schema.reservation import FINAL, CreateReservation, Retry, Status, misfit, retried_id
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.reservations import reservations
from pgfleet.workers.clients.kubernetes.names import OURS_IN_GANGS
from pgfleet.workers.reservation.access import jupyter
from pgfleet.workers.reservation.asked.placed import is_unchecked, refuse, take_up, unlike
from pgfleet.workers.reservation.disk import asks_for_disk, disk_misfit, first_disk
from pgfleet.workers.reservation.gang.rows import rows_of_gang
from pgfleet.workers.reservation.line import admit_message, checked_in_turn
from pgfleet.workers.reservation.tools import Turn, hand_out, ticket
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, New, Outcome, Reject

POD_LOST = "POD_LOST"


def create(message: CreateReservation, turn: Turn) -> Outcome:
    """(new) -> pending: all rows of a gang in one commit."""
    row = turn.view.rows.get(message.reservation_id)
    if row is not None and row.user_id != message.user_id:
        return Reject(f"reservation {message.reservation_id} does not belong to {message.user_id}")
    message = spread(message, turn.view.gpu_types.get(message.gpu_type))
    if row is None:
        return _reserve(message, turn, "reserved")
    if not is_unchecked(row):
        return _start(row, message, turn.view)
    placed = rows_of_gang(row, turn.view)
    problem = unlike(placed, message)
    return refuse(placed, problem, turn.view) if problem else _reserve(message, turn, "reserved", placed)


def _reserve(message: CreateReservation, turn: Turn, reason: str, placed: Sequence[Row] = (), **more: Any) -> Outcome:
    """New rows, or those that were placed with the message as they are to be."""
    ids = gang_ids(message.reservation_id, message.nodes)
    there = {row.reservation_id: row for row in placed}
    taken = [turn.view.rows[each] for each in ids if each in turn.view.rows and each not in there]
    if taken:
        return _taken(taken[0], message, turn)
    disk = first_disk(message.reservation_id, message.user_id, message.disk_name, message.disk_size_gb, turn.view)
    problem = _problem(message, turn) or _too_many(message, disk, turn.view)
    if problem:
        return refuse(placed, problem, turn.view)
    # What it is booked for is past by now: it waits as any other.
    start_at = message.start_at if message.start_at is not None and message.start_at > turn.now else None
    values = {
        **row_of(message),
        "instance_type": turn.view.gpu_types[message.gpu_type].instance_type,
        "created_at": turn.sent_at,
        "waiting_since": turn.sent_at if start_at is None else start_at,
        "start_at": start_at,
        "line_number": turn.msg_id,
        "namespace": turn.tools.settings.namespace,
        "github_user": message.github_user or turn.view.github_users.get(message.user_id),
        "idle_minutes": idle_minutes(turn.view.limits, message),
        "current_detailed_status": "Waiting for its turn",
        **(jupyter.wanted() if message.jupyter_enabled else {}),
        "ticket": 1,
        **more,
    }
    rows = tuple(
        take_up(there[node["reservation_id"]], node) if there else New(reservations, Status.PENDING, reason, node)
        for node in nodes_of(values, len(ids))
    )
    recheck = turn.later(turn.tools.settings.line_recheck_s)
    line = (admit_message(message.gpu_type), *(ticket(each, 1, recheck) for each in ids))
    booked = Advance() if start_at is None else checked_in_turn(message.gpu_type, turn)
    return Advance(rows) + disk + booked + Advance(then=line)


def _taken(row: Row, message: CreateReservation, turn: Turn) -> Outcome:
    """The id of one of its nodes is there: its user has cancelled that before the gang came, or it is another's."""
    if row.user_id == message.user_id and row.status == Status.CANCELLED and row.gpu_type is None:
        return Advance((tombstone(message.reservation_id, message.user_id, turn.view),))
    return Reject(f"reservation_id: {row.reservation_id}, which one node of this gang would be, is another reservation")


def tombstone(reservation_id: str, user_id: str, view: View) -> New:
    """A row that is cancelled already, so that its create does nothing."""
    values = {
        "reservation_id": reservation_id,
        "user_id": user_id,
        "duration_hours": 8,
        "created_at": view.now,
        "cancelled_at": view.now,
        "reservation_ended": view.now,
    }
    return New(reservations, Status.CANCELLED, "cancelled before it was created", values)


def _start(row: Row, message: CreateReservation, view: View) -> Outcome:
    """A producer may have inserted its rows itself; otherwise it is a duplicate, or cancelled already."""
    if row.status != Status.PENDING or row.ticket != 0:
        return Done(f"known already, {row.status}")
    rows, asked = rows_of_gang(row, view), message.nodes
    if len(rows) != asked:
        return Reject(f"total_nodes: {asked}, but reservation {row.reservation_id} was inserted with {len(rows)}")
    # Its first ticket looks at it as a message would have been looked at.
    disk = first_disk(row.reservation_id, row.user_id, row.disk_name, message.disk_size_gb, view)
    return sum((hand_out(Move(each, None)) for each in rows), disk)


def _problem(message: CreateReservation, turn: Turn) -> str | None:
    """Why it can never start, or is not for its user."""
    return (
        _misfit(message, turn)
        or _overridden(message)
        or refused(turn.view.limits, message)
        or disk_misfit(message, turn.view)
        or _unbookable(message, turn)
    )


def _unbookable(message: CreateReservation, turn: Turn) -> str | None:
    """Why it can't be promised to start at the time that it asks for, and when it could."""
    if message.start_at is None:
        return None
    problem = out_of_reach(message.start_at, turn.now, turn.sent_at)
    if problem is not None or message.start_at <= turn.now:
        return problem
    standing = turn.view.standings.get(message.gpu_type)
    return None if standing is None else book(standing, unit_asked_for(message)).problem


def _too_many(message: CreateReservation, disk: Advance, view: View) -> str | None:
    """Which limit of its user it is beyond, with the disk that would be made for it."""
    sizes = [change.values["size_gb"] for change in disk.changes]
    more = {"disks": len(sizes), "disk_gb": sum(sizes)} if sizes else {}
    return beyond(view.limits, message.user_id, reservations=message.nodes, **more)


def _overridden(message: CreateReservation) -> str | None:
    """Each node of a gang is told who it is by variables that its user can't choose."""
    ours = sorted(OURS_IN_GANGS & message.env_vars.keys()) if message.nodes > 1 else []
    return (
        f"env_vars: {', '.join(ours)} in a gang {'is' if len(ours) == 1 else 'are'} pgfleet's to say" if ours else None
    )


def _misfit(message: CreateReservation, turn: Turn) -> str | None:
    gpu_type = turn.view.gpu_types.get(message.gpu_type)
    if gpu_type is not None and not gpu_type.is_active:
        return f"gpu_type: {message.gpu_type} is switched off"
    return misfit(message, gpu_type, turn.tools.settings.max_hours)


def retry(row: Row, message: Retry, turn: Turn) -> Outcome:
    """A new row, or a new gang, with what was asked for in an ended one, checked anew. What has ended stays so."""
    if row.node_index:
        return Reject(f"reservation {row.reservation_id} is a node of gang {row.master_reservation_id}: retry that")
    new_id = retried_id(row.reservation_id, message.request_id)
    known = turn.view.rows.get(new_id)
    if known is not None and known.user_id != row.user_id:
        return Reject(f"reservation {new_id}, which this retry would be, does not belong to {row.user_id}")
    if known is not None and known.master_reservation_id == row.reservation_id:
        return Reject(f"request_id: {message.request_id} is the number of a node of this gang; choose another")
    if known is not None:
        return Done(f"retried already, as {new_id}, which is {known.status}")
    problem = _unrepeatable(row, turn.view)
    if problem:
        return Reject(problem)
    try:
        asked = read_message(_asked_again(row, new_id), {"create_reservation": CreateReservation})
    except BadMessage as error:
        return Reject(f"reservation {row.reservation_id} can't be asked for again: {error}")
    reason = f"retry of reservation {row.reservation_id}"
    return _reserve(asked, turn, reason, retried_from=row.reservation_id, warning=_what_is_lost(row, turn.view))


def _unrepeatable(row: Row, view: View) -> str | None:
    """Why there is nothing to ask for again."""
    if row.status not in FINAL:
        return f"reservation {row.reservation_id} is {row.status}: only one that is over is retried"
    if row.gpu_type is None or row.gpu_count is None:
        return f"reservation {row.reservation_id} was cancelled before it was created: nothing is known of it"
    if asks_for_disk(row) and (row.user_id, row.disk_name) not in view.disks:
        # Its first reservation has made the disk: with a new one of that name, its home would be empty.
        return f"disk_name: disk {row.disk_name} is not there any more; submit a new reservation for an empty one"
    return None


# What a message says of the moment when it is sent.
_OF_ITS_MOMENT = frozenset({"action", "reservation_id", "version", "submitted_at", "start_at", "disk_size_gb"})


def _asked_again(row: Row, new_id: str) -> dict[str, Any]:
    """The create message that the row was made of: a column is called as its field."""
    fields = CreateReservation.model_fields.keys() - _OF_ITS_MOMENT
    asked = {name: row[name] for name in fields if row.get(name) is not None}
    return {
        **asked,
        **({"name": gang_name(row)} if row.is_multinode else {}),
        "action": "create_reservation",
        "reservation_id": new_id,
        "duration_hours": row.duration_hours - row.extended_hours,
        **({"version": row.cli_version} if row.cli_version else {}),
    }


def _what_is_lost(row: Row, view: View) -> str | None:
    """What the new reservation won't find of what the old one had; None where its pod has ended as it should."""
    lost = row.status == Status.FAILED or (row.status_reason or "").partition(":")[0] == POD_LOST
    if row.launched_at is None or not lost:
        return None
    if not asks_for_disk(row):
        return f"what the pod of reservation {row.reservation_id} held is lost: it had no disk"
    disk = view.disks[row.user_id, row.disk_name]
    if disk.reservation_id == row.reservation_id:
        return (
            f"home as of the end of reservation {row.reservation_id}; what was not written to its disk by then is lost"
        )
    if disk.last_snapshot_at is None:
        return f"disk {disk.disk_name} has no snapshot: what was written to it is lost"
    return f"home as of the snapshot of {disk.last_snapshot_at:%Y-%m-%d %H:%M} UTC; what was written after it is lost"
