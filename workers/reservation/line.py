"""The line of a GPU type: who may have GPUs, oldest first, and what is shown to the others."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import chain
from typing import Any

from pgfleet.schema.container import unusable
from pgfleet.schema.printable import plural
from pgfleet.schema.reservation import Admit, Status, misfit, pod_name
from pgfleet.schema.room import Room
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.verdicts import EC2, KUBERNETES, SSH_KEYS
from pgfleet.workers.reservation.disk import asks_for_disk, attachment, disk_hold, no_disk
from pgfleet.workers.reservation.tools import Turn, ended, hand_out, ticket
from pgfleet.workers.reservation.view import LINE_LIMIT, View
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Calls,
    Change,
    Done,
    Move,
    NotNowError,
    Outcome,
    Send,
    Wait,
    show_reason,
    wait,
)


def admit_message(gpu_type: str) -> Send:
    return Send({"action": "admit", "gpu_type": gpu_type})


def admit(message: Admit, turn: Turn) -> Outcome:
    """Pending -> preparing | queued, queued -> preparing: as many from the front of the line as fit.

    The GPUs are taken in the settling transaction; the database refuses more than there are, and then the
    line is looked at again.
    """
    gpu_type, line = turn.view.gpu_types.get(message.gpu_type), turn.view.lines[message.gpu_type]
    taken: set[Any] = set()
    blocked = [
        _waits(row, reason)
        for row in turn.view.blocked[message.gpu_type]
        if (reason := disk_hold(row, turn.view, taken))
    ]
    passed = [*turn.view.passed[message.gpu_type]]
    if gpu_type is None or not (line or blocked or passed):
        return Done("nobody waits")
    trouble = turn.trouble(KUBERNETES, Calls.MAKE) or turn.trouble(SSH_KEYS, Calls.READ)
    if trouble is not None:
        return _stand_still([*line[:LINE_LIMIT], *passed], trouble)
    room = turn.view.rooms[message.gpu_type]
    free = room.unheld
    admitted: list[Change] = []
    refused: list[Change] = []
    waiting: list[tuple[Move, ...]] = []
    sends: list[Send] = []
    for row in line[:LINE_LIMIT]:
        if asks_for_disk(row) and (row.user_id, row.disk_name) not in turn.view.disks:
            # Its disk was not loaded with the line, or does not exist: its own ticket finds out.
            sends.append(ticket(row.reservation_id))
            continue
        problem = unfit(row, turn)
        if problem:
            given_up = _give_up(row, turn.view, problem)
            refused += given_up.changes
            sends += given_up.then
        elif held := disk_hold(row, turn.view, taken) or _no_volumes(row, turn):
            blocked.append(_waits(row, held))
        elif gpu_type.is_active and not waiting and row.gpu_count <= free and not room.fits(row.gpu_count):
            passed.append(row)
        elif gpu_type.is_active and not waiting and row.gpu_count <= free:
            free -= row.gpu_count
            admission = _admission(row, turn, room)
            room = room.without(row.gpu_count)
            admitted += admission.changes
            sends += admission.then
            taken.add((row.user_id, row.disk_name))
        else:
            waiting.append(_waits_for_gpus(row, gpu_type, free, ahead=bool(waiting)))
    without_room = [_waits_for_room(row, gpu_type, room) for row in passed]
    changed = (*admitted, *refused, *chain(*waiting, *blocked, *without_room))
    if len(line) > LINE_LIMIT and changed and not waiting:
        sends.append(admit_message(message.gpu_type))
    return Advance(changed, tuple(sends)) if changed else Done("nobody can move up", tuple(sends))


def _stand_still(line: Sequence[Row], trouble: NotNowError) -> Outcome:
    """Nobody is admitted while their pods could not be made: they would hold GPUs in vain. All keep their places."""
    shown = tuple(chain(*(_waits(row, trouble.shown) for row in line)))
    return Advance(shown) if shown else Done("the line stands still")


def _admission(row: Row, turn: Turn, room: Room) -> Advance:
    """With its GPUs it takes its disk: both, or neither."""
    by_totals = room.seen_ago_s is not None and room.doubt and row.gpu_count
    reason = f"admitted by totals alone: {room.doubt}" if by_totals else "admitted"
    values = {
        "gpus_held": row.gpu_count,
        "retry_at": None,
        "pod_name": pod_name(row.reservation_id),
        "namespace": turn.tools.settings.namespace,
        "current_detailed_status": "Preparing its pod",
    }
    return hand_out(Move(row, Status.PREPARING, reason, values)) + attachment(row, turn.view)


def _no_volumes(row: Row, turn: Turn) -> str | None:
    """Why its disk would get no volume now."""
    trouble = turn.trouble(EC2, Calls.MAKE) if asks_for_disk(row) else None
    return None if trouble is None else trouble.shown


def _waits_for_gpus(row: Row, gpu_type: Row, free: int, *, ahead: bool) -> tuple[Move, ...]:
    if not gpu_type.is_active:
        reason = f"TYPE_DISABLED: {gpu_type.gpu_type} is switched off"
    elif ahead:
        reason = "BEHIND_OTHERS: older reservations of this type go first"
    else:
        reason = (
            f"NO_CAPACITY: {plural(row.gpu_count, 'GPU')} wanted, {max(free, 0)} of {gpu_type.total_cluster_gpus} free"
        )
    return _waits(row, reason)


def _waits_for_room(row: Row, gpu_type: Row, room: Room) -> tuple[Move, ...]:
    if not gpu_type.is_active:
        return _waits_for_gpus(row, gpu_type, 0, ahead=False)
    return _waits(row, f"NO_CAPACITY: {room.shortage(row.gpu_count)}")


def _waits(row: Row, reason: str) -> tuple[Move, ...]:
    """The move to `queued`; of a row that is queued already its new reason, if it is another."""
    if row.status == Status.PENDING:
        return (Move(row, Status.QUEUED, reason, {"current_detailed_status": reason}),)
    return show_reason(row, reason)


def wait_in_line(row: Row, turn: Turn) -> Outcome:
    """The ticket of a waiting row: given up when too old, else the line is looked at, to be safe."""
    settings = turn.tools.settings
    problem = unfit(row, turn)
    if problem:
        return _give_up(row, turn.view, problem)
    if turn.waited(row.waiting_since) > timedelta(seconds=settings.queued_stale_s):
        hours = settings.queued_stale_s / 3600
        values = {"cancelled_at": turn.now, **ended(row, turn.view)}
        late = Move(row, Status.CANCELLED, f"no GPUs within {hours:g} hours", values)
        return Advance(then=(admit_message(row.gpu_type),)) + hand_out(late)
    recheck = timedelta(seconds=settings.line_recheck_s)
    until = turn.now + recheck
    held = disk_hold(row, turn.view)
    if held is not None and row.status == Status.QUEUED:
        return wait(row, held, until)
    if row.status == Status.PENDING and (held or turn.now - row.waiting_since >= recheck):
        # The looks at the line have not come as far as this row, so they have shown it no reason.
        reason = held or "BEHIND_OTHERS: older reservations of this type go first"
        queued = Move(row, Status.QUEUED, reason, {"current_detailed_status": reason})
        return hand_out(queued, until) + Advance(then=(admit_message(row.gpu_type),))
    if row.retry_at is not None and row.retry_at > turn.now:
        until = min(until, row.retry_at)
        return Wait("paused: its pod found no node", until)
    return Wait("in line", until, then=(admit_message(row.gpu_type),))


def unfit(row: Row, turn: Turn) -> str | None:
    """Why a row that somebody else inserted can never start: nobody has checked it as a message is checked."""
    if row.gpu_type is None or row.gpu_count is None:
        return "gpu_type and gpu_count: a reservation needs both"
    if asks_for_disk(row):
        disk = turn.view.disks.get((row.user_id, row.disk_name))
        problem = f"disk_name: there is no disk {row.disk_name}" if disk is None else no_disk(disk)
        if problem:
            return problem
    gpu_type = turn.view.gpu_types.get(row.gpu_type)
    return misfit(row, gpu_type, turn.tools.settings.max_total_hours) or unusable(row)


def _give_up(row: Row, view: View, reason: str) -> Advance:
    values = {"failed_at": view.now, "failure_reason": reason, **ended(row, view)}
    return hand_out(Move(row, Status.FAILED, reason, values))
