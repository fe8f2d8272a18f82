"""Whether a booking would hold, and when it could start instead: it moves the start of nobody that is promised one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol

from pgfleet.schema.line.ground import Ground
from pgfleet.schema.line.plan import moved
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.unit import Unit
from pgfleet.schema.printable import minute

SHOWN_TIMES = 3
# How far ahead somebody may book.
FARTHEST = timedelta(days=14)
# What comes this much later than it asks for was sent in time: it starts at once.
SENT_LATE = timedelta(minutes=5)
# Times that are offered are so far apart, and on whole minutes.
APART = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Booked:
    """What would become of a booking: nothing where there is a problem; then there may be other times."""

    start_at: datetime
    problem: str | None = None
    next_times: tuple[datetime, ...] = ()


class Asked(Protocol):
    """What a message asks for."""

    @property
    def reservation_id(self) -> str: ...
    @property
    def gpu_count(self) -> int: ...
    @property
    def duration_hours(self) -> float: ...
    @property
    def nodes(self) -> int: ...
    @property
    def start_at(self) -> datetime | None: ...


def unit_asked_for(message: Asked) -> Unit:
    return Unit(
        key=message.reservation_id,
        gpus=message.gpu_count,
        hours=message.duration_hours,
        nodes=message.nodes,
        start_at=message.start_at,
    )


def out_of_reach(start_at: datetime, now: datetime, asked_at: datetime) -> str | None:
    """Why nobody may ask for this time."""
    if start_at > now + FARTHEST:
        return f"start_at: at most {FARTHEST.days} days ahead"
    if start_at < asked_at - SENT_LATE:
        return f"start_at: {minute(start_at)} was over when it was asked for, at {minute(asked_at)}"
    return None


def book(standing: Standing, unit: Unit) -> Booked:
    """Whether a unit would start at its `start_at` if it were booked now."""
    assert unit.start_at is not None  # noqa: S101  # the caller has looked
    if holds(standing, unit):
        return Booked(unit.start_at)
    times = tuple(islice(_other_times(standing, unit), SHOWN_TIMES))
    told = ", ".join(map(minute, times)) or "no time within 14 days is known"
    problem = f"start_at: not all its GPUs are free from {minute(unit.start_at)} on; possible: {told}"
    return Booked(unit.start_at, problem, times)


def holds(standing: Standing, unit: Unit) -> bool:
    """Whether it would start in time, and nobody who starts now, or was promised a start, does so later."""
    before, after = standing.plan(), replace(standing, bookings=(*standing.bookings, unit)).plan()
    mine = next((promise for promise in after.ground.promises if promise.unit.key == unit.key), None)
    is_kept = mine is not None and mine.at is not None and mine.at <= mine.not_before
    return is_kept and not moved(before, after)


def _other_times(standing: Standing, unit: Unit) -> Iterator[datetime]:
    """Later times at which it would hold, the next first."""
    ground, at = standing.plan().ground, unit.start_at or standing.now
    while (found := _next(ground, standing, unit, at)) is not None and found <= standing.now + FARTHEST:
        if holds(standing, replace(unit, start_at=found)):
            yield found
        at = found + APART


def _next(ground: Ground, standing: Standing, unit: Unit, at: datetime) -> datetime | None:
    found = ground.beside.earliest(unit, ground.pace.length_s(unit), max(standing.seconds_to(at), 0))
    return None if found is None else whole_minute(standing.now + timedelta(seconds=found[0]))


def whole_minute(at: datetime) -> datetime:
    """That minute, or the next."""
    return at if at.second == at.microsecond == 0 else at.replace(second=0, microsecond=0) + timedelta(minutes=1)
