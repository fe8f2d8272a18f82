"""Why a unit of a line waits, as its row and a dry run say it: a code, and words."""

from datetime import datetime, timedelta

from pgfleet.schema.line.plan import Code, Plan, Waiting
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.printable import minute, plural
from pgfleet.schema.room import Room

# A booking that starts so much later than it was booked for is told why.
LATE = timedelta(minutes=5)


def shown(waiting: Waiting, plan: Plan, standing: Standing, total: int) -> str:
    """`NO_CAPACITY: 8 GPUs wanted, 4 of 16 free`; `total` is that of the type."""
    why = f"{waiting.code}: {words(waiting, plan, standing, total)}"
    if waiting.code == Code.SCHEDULED or waiting.unit.start_at is None:
        return why
    return f"{why}; it was booked for {minute(waiting.unit.start_at)}"


def words(waiting: Waiting, plan: Plan, standing: Standing, total: int) -> str:
    unit, free = waiting.unit, max(plan.ground.free.total[0][1], 0)
    match waiting.code:
        case Code.SCHEDULED:
            return _scheduled(waiting, standing)
        case Code.GANG_INCOMPLETE if unit.lacks:
            return f"{unit.lacks} of its {unit.nodes} nodes {'is' if unit.lacks == 1 else 'are'} not in line"
        case Code.GANG_INCOMPLETE:
            return f"{unit.nodes} nodes of {plural(unit.gpus, 'GPU')} wanted at once, {free} of {total} free"
        case Code.NO_CAPACITY if unit.total <= free or (not unit.gpus and standing.room.why_none):
            return after(plan, standing).shortage(unit.gpus) if unit.gpus else str(standing.room.why_none)
        case Code.NO_CAPACITY:
            return f"{plural(unit.total, 'GPU')} wanted, {free} of {total} free"
        case _ if waiting.is_promised:
            return "its GPUs are kept for those that are booked"
        case _:
            return "others of this type go first"


def after(plan: Plan, standing: Standing) -> Room:
    """The room of nodes when all that start now have theirs."""
    room = standing.room
    for start in plan.starts:
        for node in start.spots:
            room = room.without(start.unit.gpus, node)
    return room


def is_late(waiting: Waiting, standing: Standing) -> bool:
    """Whether a booking can't be kept, as it stands now."""
    start_at, starts = waiting.unit.start_at, standing.at(waiting.starts_in_s)
    return start_at is not None and (starts is None or starts > max(start_at, standing.now - LATE) + LATE)


def _scheduled(waiting: Waiting, standing: Standing) -> str:
    start_at, starts = waiting.unit.start_at, standing.at(waiting.starts_in_s)
    at = minute(start_at or standing.now)
    if not is_late(waiting, standing):
        return f"it starts at {at}"
    return f"it can't start at {at} as booked; {earliest(starts)}"


def earliest(starts: datetime | None) -> str:
    return "nobody knows when it can" if starts is None else f"{minute(starts)} is the earliest"
