"""The line of a GPU type: who may have GPUs, oldest first, and what the others are told."""

from datetime import timedelta
from typing import Any

from pgfleet.schema.disk import NUDGE
from pgfleet.schema.reservation import Admit, Status, misfit, pod_name
from pgfleet.schema.rows.row import Row
from pgfleet.workers.reservation.disk import asks_for_disk, attachment, disk_hold, no_disk
from pgfleet.workers.reservation.tools import Tools, end_of_line, next_ticket, ticket
from pgfleet.workers.reservation.view import LINE_LIMIT, View
from pgfleet.workers.runtime.kind import Occasion
from pgfleet.workers.runtime.outcomes import Advance, Change, Done, Move, Outcome, Send, Wait, advance


def admit_message(gpu_type: str) -> Send:
    return Send({"action": "admit", "gpu_type": gpu_type})


def admit(message: Admit, view: View, tools: Tools) -> Outcome:
    """Pending -> preparing | queued, queued -> preparing: as many from the front of the line as fit.

    The GPUs are taken in the settling transaction; the database refuses more than there are, and then the
    line is looked at again.
    """
    gpu_type, line = view.gpu_types.get(message.gpu_type), view.lines[message.gpu_type]
    taken: set[Any] = set()
    blocked = [_told(row, reason) for row in view.blocked[message.gpu_type] if (reason := disk_hold(row, view, taken))]
    if gpu_type is None or not (line or blocked):
        return Done("nobody waits")
    free = gpu_type.total_cluster_gpus - gpu_type.held_gpus
    admitted: list[Change] = []
    told: list[Move | None] = []
    refused: list[Move] = []
    sends: list[Send] = []
    for row in line[:LINE_LIMIT]:
        if asks_for_disk(row) and (row.user_id, row.disk_name) not in view.disks:
            # Not loaded with the line, or not there: its own turn knows.
            sends.append(ticket(row.reservation_id, NUDGE))
            continue
        problem = unfit(row, view, tools)
        if problem:
            refused.append(_give_up(row, view, problem))
            sends.append(next_ticket(row))
        elif held := disk_hold(row, view, taken):
            blocked.append(_told(row, held))
        elif gpu_type.is_active and not told and row.gpu_count <= free:
            free -= row.gpu_count
            changes, then = _admission(row, view, tools)
            admitted += changes
            sends += then
            taken.add((row.user_id, row.disk_name))
        else:
            told.append(_refusal(row, gpu_type, free, ahead=bool(told)))
    changed = (*admitted, *refused, *(move for move in (*told, *blocked) if move is not None))
    if len(line) > LINE_LIMIT and changed and not told:
        sends.append(admit_message(message.gpu_type))
    return Advance(changed, tuple(sends)) if changed else Done("nobody can move up", tuple(sends))


def _admission(row: Row, view: View, tools: Tools) -> tuple[list[Change], list[Send]]:
    """With its GPUs it takes its disk: both, or neither."""
    values = {
        "gpus_held": row.gpu_count,
        "ticket": row.ticket + 1,
        "retry_at": None,
        "pod_name": pod_name(row.reservation_id),
        "namespace": tools.settings.namespace,
        "current_detailed_status": "Preparing its pod",
    }
    move = Move(row, Status.PREPARING, "admitted", values)
    disk = attachment(row, view)
    return ([move, disk[0]], [next_ticket(row), disk[1]]) if disk else ([move], [next_ticket(row)])


def _refusal(row: Row, gpu_type: Row, free: int, *, ahead: bool) -> Move | None:
    """The move to `queued`, or the new reason of a row that is queued already; None if it knows."""
    if not gpu_type.is_active:
        reason = f"TYPE_DISABLED: {gpu_type.gpu_type} is switched off"
    elif ahead:
        reason = "BEHIND_OTHERS: older reservations of this type go first"
    else:
        reason = f"NO_CAPACITY: {row.gpu_count} GPUs wanted, {max(free, 0)} of {gpu_type.total_cluster_gpus} free"
    return _told(row, reason)


def _told(row: Row, reason: str) -> Move | None:
    shown = {"current_detailed_status": reason}
    if row.status == Status.PENDING:
        return Move(row, Status.QUEUED, reason, shown)
    return None if row.current_detailed_status == reason else Move(row, None, values=shown)


def wait_in_line(row: Row, view: View, tools: Tools, occasion: Occasion) -> Outcome:  # noqa: ARG001  # a step
    """The ticket of a waiting row: given up when too old, else the line is looked at, to be safe."""
    settings = tools.settings
    problem = unfit(row, view, tools)
    if problem:
        return Advance((_give_up(row, view, problem),), (next_ticket(row),))
    if view.now - row.waiting_since > timedelta(seconds=settings.queued_stale_s):
        hours = settings.queued_stale_s / 3600
        values = {"cancelled_at": view.now, **end_of_line(row, view)}
        return advance(
            row,
            Status.CANCELLED,
            f"no GPUs within {hours:g} hours",
            values,
            (admit_message(row.gpu_type), next_ticket(row)),
        )
    recheck = timedelta(seconds=settings.line_recheck_s)
    until = view.now + recheck
    held = disk_hold(row, view)
    if held is not None and row.status == Status.QUEUED:
        told = _told(row, held)
        return Wait(held, until, (told,) if told else ())
    if row.status == Status.PENDING and (held or view.now - row.waiting_since >= recheck):
        # It has not come near enough to the front to be told why.
        reason = held or "BEHIND_OTHERS: older reservations of this type go first"
        values = {"current_detailed_status": reason, "ticket": row.ticket + 1}
        return advance(row, Status.QUEUED, reason, values, (next_ticket(row, until), admit_message(row.gpu_type)))
    if row.retry_at is not None and row.retry_at > view.now:
        until = min(until, row.retry_at)
        return Wait("paused: its pod found no node", until)
    return Wait("in line", until, then=(admit_message(row.gpu_type),))


def unfit(row: Row, view: View, tools: Tools) -> str | None:
    """Why a row that somebody else inserted can never start: nobody has checked it as a message is checked."""
    if row.gpu_type is None or row.gpu_count is None:
        return "gpu_type and gpu_count: a reservation needs both"
    if asks_for_disk(row):
        disk = view.disks.get((row.user_id, row.disk_name))
        problem = f"disk_name: there is no disk {row.disk_name}" if disk is None else no_disk(disk)
        if problem:
            return problem
    gpu_type = view.gpu_types.get(row.gpu_type)
    return misfit(row, gpu_type, tools.settings.max_total_hours)


def _give_up(row: Row, view: View, reason: str) -> Move:
    values = {"failed_at": view.now, "failure_reason": reason, **end_of_line(row, view)}
    return Move(row, Status.FAILED, reason, values)
