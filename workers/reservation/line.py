"""The line of a GPU type: who may have GPUs, in its order, and what is shown to the others.

`schema/line/` plans it; what the plan can't know of (a disk, an outage, a row that can never start) is found here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from pgfleet.schema.container import unusable
from pgfleet.schema.environment.fleet import pod_name
from pgfleet.schema.line.booking import book
from pgfleet.schema.line.plan import LOOKED_AT, Plan, Start, Waiting
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.unit import in_units, unit_key
from pgfleet.schema.line.words import LATE, shown
from pgfleet.schema.printable import minute
from pgfleet.schema.reservation import Admit, Status, misfit
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.verdicts import EC2, KUBERNETES, SSH_KEYS
from pgfleet.workers.reservation.disk import asks_for_disk, attachment, disk_hold, no_disk
from pgfleet.workers.reservation.tools import Turn, ended, hand_out, ticket
from pgfleet.workers.reservation.view import View
from pgfleet.workers.runtime.outcomes import (
    Advance,
    Calls,
    Done,
    Move,
    NotNowError,
    Outcome,
    Send,
    Wait,
    show_reason,
    wait,
)

BEHIND_OTHERS = "BEHIND_OTHERS: others of this type go first"

# Ends are known to the second; what is promised is not written anew for less.
A_MOMENT = timedelta(seconds=1)


def admit_message(gpu_type: str) -> Send:
    return Send({"action": "admit", "gpu_type": gpu_type})


def checked_in_turn(gpu_type: str | None, turn: Turn) -> Advance:
    """A change of the row of its GPU type, with whatever takes GPUs of it that others may be promised.

    What others do so at the same time is checked anew, on what it has left: two that were each checked alone might
    move a promise together.
    """
    row = turn.view.gpu_types.get(gpu_type or "")
    return Advance() if row is None else Advance((Move(row, None, values={"promises_checked_at": turn.now}),))


def admit(message: Admit, turn: Turn) -> Outcome:
    """Pending -> preparing | queued, queued -> preparing: as many as the plan of the line lets in.

    The GPUs are taken in the settling transaction; the database refuses more than there are, and then the
    line is looked at again.
    """
    gpu_type, standing = turn.view.gpu_types.get(message.gpu_type), turn.view.standings.get(message.gpu_type)
    units = in_units(turn.view.lines[message.gpu_type])
    kept = in_units(turn.view.blocked[message.gpu_type])
    if gpu_type is None or standing is None or not (units or kept):
        return Done("nobody waits")
    trouble = turn.trouble(KUBERNETES, Calls.MAKE) or turn.trouble(SSH_KEYS, Calls.READ)
    if trouble is not None:
        return _stand_still(list(chain(*units)), trouble)
    looks = {unit_key(unit[0]): _look(unit, turn) for unit in units}
    rows = {key: look.rows for key, look in looks.items() if look.hindrance is None}
    hindered = _sum(look.hindrance for look in looks.values()) + _sum(_kept(unit, turn) for unit in kept)
    if not gpu_type.is_active:
        off = f"TYPE_DISABLED: {gpu_type.gpu_type} is switched off"
        return _decided(hindered + _sum(_waits(unit, off) for unit in rows.values()))
    standing, refused = _confirmed(standing, rows, turn)
    plan, doubled = _plan(standing, rows)
    moved = _sum(_admission(start, rows[start.unit.key], standing, turn) for start in plan.starts)
    waiting = _sum(_told(each, rows, plan, standing, turn) for each in plan.waiting)
    # Those behind them have come to the front.
    more = (admit_message(message.gpu_type),) if plan.starts and len(standing.line) >= LOOKED_AT else ()
    return _decided(moved + hindered + refused + doubled + waiting + Advance(then=more))


def _sum(parts: Iterable[Advance | None]) -> Advance:
    return sum((part for part in parts if part is not None), Advance())


def _decided(all_of_it: Advance) -> Outcome:
    return all_of_it if all_of_it.changes else Done("nobody can move up", all_of_it.then)


def _stand_still(line: Sequence[Row], trouble: NotNowError) -> Outcome:
    """Nobody is admitted while their pods could not be made: they would hold GPUs in vain. All keep their places."""
    told = _waits(line, trouble.shown)
    return told if told.changes else Done("the line stands still")


@dataclass(frozen=True, slots=True)
class Look:
    """The rows of a unit, and what becomes of them where it can't be planned with."""

    rows: list[Row]
    hindrance: Advance | None = None


def _look(rows: list[Row], turn: Turn) -> Look:
    unknown = [row for row in rows if asks_for_disk(row) and (row.user_id, row.disk_name) not in turn.view.disks]
    if unknown:
        # Its disk was not loaded with the line, or does not exist: its own ticket finds out.
        return Look(rows, Advance(then=tuple(ticket(row.reservation_id) for row in unknown)))
    problem = next((problem for row in rows if (problem := unfit(row, turn))), None)
    if problem:
        return Look(rows, _sum(_give_up(row, turn.view, problem) for row in rows))
    held = next((held for row in rows if (held := disk_hold(row, turn.view) or _no_volumes(row, turn))), None)
    return Look(rows, None if held is None else _waits(rows, held))


def _kept(rows: list[Row], turn: Turn) -> Advance | None:
    """What is shown where a disk keeps one of them."""
    held = next((held for row in rows if (held := disk_hold(row, turn.view))), None)
    return None if held is None else _waits(rows, held)


def _confirmed(standing: Standing, rows: Mapping[str, list[Row]], turn: Turn) -> tuple[Standing, Advance]:
    """Without new bookings that can't be promised: two that were asked for at once, say, of which the first is kept."""
    new = [unit for unit in standing.bookings if _is_new_booking(rows.get(unit.key, []), turn)]
    standing, refused = standing.without(unit.key for unit in new), Advance()
    for unit in sorted(new, key=lambda unit: rows[unit.key][0].line_number):
        problem = book(standing, unit).problem
        if problem is None:
            standing = replace(standing, bookings=(*standing.bookings, unit))
        else:
            refused += _sum(_give_up(row, turn.view, problem) for row in rows[unit.key])
    return standing, refused


def _is_new_booking(rows: Sequence[Row], turn: Turn) -> bool:
    return bool(rows) and rows[0].status == Status.PENDING and rows[0].start_at > turn.now


def _plan(standing: Standing, rows: Mapping[str, list[Row]]) -> tuple[Plan, Advance]:
    """The plan of the units whose rows these are; of two that ask for one disk the first gets it."""
    known = standing.without(
        unit.key for unit in standing.units if len(rows.get(unit.key, ())) + unit.lacks != unit.nodes
    )
    plan, doubled = known.plan(), Advance()
    while doubles := _doubles(plan, rows):
        for key, name in doubles.items():
            doubled += _waits(rows[key], f"DISK_IN_USE: disk {name} is being attached to another reservation")
        known = known.without(doubles)
        plan = known.plan()
    return plan, doubled


def _doubles(plan: Plan, rows: Mapping[str, list[Row]]) -> dict[str, str]:
    """Units that would start with a disk that one before them takes, each with the name of it."""
    taken: set[tuple[str, str]] = set()
    doubles = {}
    for start in plan.starts:
        for row in filter(asks_for_disk, rows[start.unit.key]):
            if (row.user_id, row.disk_name) in taken:
                doubles[start.unit.key] = row.disk_name
            taken.add((row.user_id, row.disk_name))
    return doubles


def _admission(start: Start, rows: Sequence[Row], standing: Standing, turn: Turn) -> Advance:
    """With its GPUs it takes its disk, and with one row of a gang go all of them: all or nothing."""
    doubt = standing.room.doubt if standing.room.seen_ago_s is not None and start.unit.gpus else None
    reason = f"admitted by totals alone: {doubt}" if doubt else "admitted"
    # The volume of a disk is made where its node is: a disk at rest is a snapshot, and in no zone.
    nodes = [start.spots[at] if start.is_kept else None for at, _ in enumerate(rows)]
    return _sum(
        hand_out(Move(row, Status.PREPARING, reason, {**_admitted(row, turn), "kept_to_node": node}))
        + attachment(row, turn.view)
        for row, node in zip(rows, nodes, strict=True)
    )


def _admitted(row: Row, turn: Turn) -> dict[str, Any]:
    return {
        "gpus_held": row.gpu_count,
        "admitted_at": turn.now,
        "promised_at": None,
        "promised_nodes": None,
        "retry_at": None,
        "pod_name": pod_name(row.reservation_id, turn.tools.settings.fleet),
        "namespace": turn.tools.settings.namespace,
        "current_detailed_status": "Preparing its pod",
    }


def _no_volumes(row: Row, turn: Turn) -> str | None:
    """Why its disk would get no volume now."""
    trouble = turn.trouble(EC2, Calls.MAKE) if asks_for_disk(row) else None
    return None if trouble is None else trouble.shown


def _told(waiting: Waiting, rows: Mapping[str, list[Row]], plan: Plan, standing: Standing, turn: Turn) -> Advance:
    """Why it waits; a booking that could not start in time has that as a warning, too."""
    unit, total = rows[waiting.unit.key], turn.view.gpu_types[standing.gpu_type].total_cluster_gpus
    why = shown(waiting, plan, standing, total)
    start_at = waiting.unit.start_at
    is_late = start_at is not None and turn.now >= start_at + LATE and unit[0].warning is None
    late = {"warning": f"It could not start when it was booked for. {why}"} if is_late else {}
    return _waits(unit, why, **late, **_promised(unit[0], waiting, plan, standing))


def _promised(row: Row, waiting: Waiting, plan: Plan, standing: Standing) -> dict[str, Any]:
    """What it is promised, where that is another than is written down: the next look keeps it."""
    promise = plan.promise_of(waiting.unit.key)
    at = standing.at(promise.at) if promise is not None else None
    spots = None if promise is None or at is None else list(promise.spots)
    same = (row.promised_at is None) == (at is None) and spots == row.promised_nodes
    if same and (at is None or abs(at - row.promised_at) < A_MOMENT):
        return {}
    return {"promised_at": at, "promised_nodes": spots, **_moved(row, at)}


def _moved(row: Row, at: datetime | None) -> dict[str, Any]:
    """Somebody holds what was promised for longer, or it is gone: that is told."""
    if at is None or row.promised_at is None or at < row.promised_at + LATE:
        return {}
    return {"warning": f"Its start has moved from {minute(row.promised_at)} to {minute(at)}: GPUs are held for longer"}


def _waits(rows: Sequence[Row], reason: str, **values: Any) -> Advance:
    """The move to `queued`; of rows that are queued already their new reason, if it is another."""
    return Advance(tuple(chain(*(_row_waits(row, reason, values) for row in rows))))


def _row_waits(row: Row, reason: str, values: dict[str, Any]) -> tuple[Move, ...]:
    if row.status == Status.PENDING:
        return (Move(row, Status.QUEUED, reason, {"current_detailed_status": reason, **values}),)
    return show_reason(row, reason, **values)


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
    if row.start_at is not None and row.start_at > turn.now:
        until = min(until, row.start_at)
    held = disk_hold(row, turn.view)
    if held is not None and row.status == Status.QUEUED:
        return wait(row, held, until)
    if row.status == Status.PENDING and (held or turn.now - row.waiting_since >= recheck):
        # The looks at the line have not come as far as this row, so they have shown it no reason.
        reason = held or BEHIND_OTHERS
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
