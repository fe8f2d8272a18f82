"""Who of a line starts now, where, and when the others do: EASY backfill, with bookings.

The line is gone through in its order. Who finds GPUs starts. The first who does not is its **head**: when enough of
others has ended it finds them, which is its shadow start. So does a booking, from `start_at` on. Those are **promises**
(`ground.py`): whoever comes after them starts only where none of them is moved by it.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, islice

from pgfleet.schema.line.ground import Ground, Promise, Spot, is_later
from pgfleet.schema.line.timeline import ANYWHERE
from pgfleet.schema.line.unit import Unit

# How many units one look may move from the front of a line, and how many that fit now from behind them.
LOOKED_AT = 32


class Code(StrEnum):
    """Why a unit does not start now."""

    NO_CAPACITY = "NO_CAPACITY"  # too few GPUs are free
    BEHIND_OTHERS = "BEHIND_OTHERS"  # others go first
    GANG_INCOMPLETE = "GANG_INCOMPLETE"  # rows of it lack, or not all of it fits
    SCHEDULED = "SCHEDULED"  # it is booked for later


@dataclass(frozen=True, slots=True)
class Start:
    """A unit that starts now, on these nodes. Where it is kept to them, another place would move a promise."""

    unit: Unit
    spots: tuple[str, ...]
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A unit that does not start now.

    Attributes:
        starts_in_s: when it does; None where nobody knows, or nobody has asked.
        is_promised: whether nobody who comes after it can move that.
    """

    unit: Unit
    code: Code
    starts_in_s: float | None = None
    is_promised: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`ground` is what is left, with all promises."""

    ground: Ground
    starts: tuple[Start, ...] = ()
    waiting: tuple[Waiting, ...] = ()

    def of(self, key: str) -> Start | Waiting | None:
        found: tuple[Start | Waiting, ...] = (*self.starts, *self.waiting)
        return next((each for each in found if each.unit.key == key), None)

    def promise_of(self, key: str) -> Promise | None:
        return next((promise for promise in self.ground.promises if promise.unit.key == key), None)


def plan(ground: Ground, line: Sequence[Unit], known: Mapping[str, Spot], looked_ahead: int = 0) -> Plan:
    """Who starts now, and why the others do not. `ground` has the promises to bookings, `known` those to others.

    So many others than the head are told, too, when they start: as if each lasted as long as it was asked for. Those
    far behind, for which nothing is free, are not in the plan.
    """
    made = _begin_bookings(ground)
    looked_at = _looked_at(made.ground, line)
    nearest = max(looked_ahead, LOOKED_AT)
    has_head = stands_still = False
    for unit in chain(line[:nearest], (unit for unit in line[nearest:] if unit.key in looked_at)):
        is_stopped = unit.lacks or stands_still or unit.key not in looked_at
        start = None if is_stopped else _start(made.ground, unit)
        if start is not None:
            made = _with_start(made, *start)
        elif unit.lacks:
            made = replace(made, waiting=(*made.waiting, Waiting(unit, Code.GANG_INCOMPLETE)))
        elif has_head or stands_still or unit.key not in looked_at:
            made = replace(made, waiting=(*made.waiting, Waiting(unit, Code.BEHIND_OTHERS)))
        else:
            made = _with_head(made, unit, known.get(unit.key))
            has_head = made.waiting[-1].is_promised
            # Where nobody knows when it starts, all others end before. Who has waited for too long lets nobody pass.
            stands_still = not has_head and unit.is_starving and ground.free.could_hold(unit)
    starts = tuple(_kept(start, made.ground) for start in made.starts)
    return replace(made, starts=starts, waiting=tuple(_told(made, looked_ahead)))


def _looked_at(ground: Ground, line: Sequence[Unit]) -> frozenset[str]:
    """Those that one look may let in: the first in line, and the first of those for which enough is free."""
    fits: dict[tuple[int, int], bool] = {}
    for size in {(unit.gpus, unit.nodes): unit for unit in line}.values():
        fits[size.gpus, size.nodes] = ground.free.fits_now(size)
    fitting = (unit for unit in line if fits[unit.gpus, unit.nodes])
    return frozenset(unit.key for unit in chain(line[:LOOKED_AT], islice(fitting, LOOKED_AT)))


def _begin_bookings(ground: Ground) -> Plan:
    made = Plan(ground)
    for promise in ground.promises:
        is_due = promise.not_before <= 0
        if is_due and promise.at == 0:
            spots = _shown_spots(promise.spots)
            is_kept = bool(spots) and len(made.ground.promises) > 1
            made = replace(
                made,
                ground=made.ground.begun(promise),
                starts=(*made.starts, Start(promise.unit, spots, is_kept)),
            )
        else:
            code = _shortage(ground, promise.unit) if is_due else Code.SCHEDULED
            waiting = Waiting(promise.unit, code, promise.at, is_promised=promise.at is not None)
            made = replace(made, waiting=(*made.waiting, waiting))
    return made


def _kept(start: Start, ground: Ground) -> Start:
    """Who goes before the head is kept to its node, too: the scheduler could choose one that is soon the head's."""
    length = ground.pace.length_s(start.unit)
    if not start.spots or not any(promise.at is not None and promise.at < length for promise in ground.promises):
        return start
    return replace(start, is_kept=True)


def _shown_spots(spots: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in spots if name != ANYWHERE)


def _start(ground: Ground, unit: Unit) -> tuple[Start, Ground] | None:
    """Where a unit may start now, and what is left then; None where it finds no GPUs, or would move a promise."""
    length = ground.pace.length_s(unit)
    if not ground.free.fits_now(unit):
        return None
    if not any(promise.at is not None and promise.at < length for promise in ground.promises):
        spots = ground.free.likely_spots(unit)
        after = ground.with_start(unit, spots) if spots is not None else None
        return None if after is None else (Start(unit, _shown_spots(spots or ())), after)
    for spots in _harmless_first(ground, unit, length):
        after = ground.with_start(unit, spots)
        if after is not None:
            shown = _shown_spots(spots)
            return Start(unit, shown, is_kept=bool(shown)), after
    return None


def _harmless_first(ground: Ground, unit: Unit, length: float) -> Iterator[tuple[str, ...]]:
    """Places for it now: beside all promises, then those where promises would have to be kept in another way."""
    for timeline in (ground.beside, ground.free):
        spots = timeline.spots(unit, 0, length)
        if spots is not None:
            yield spots
    if unit.nodes == 1:
        yield from ground.free.each_spot_now(unit)


def _with_start(made: Plan, start: Start, ground: Ground) -> Plan:
    return replace(made, ground=ground, starts=(*made.starts, start))


def _with_head(made: Plan, unit: Unit, known: Spot | None) -> Plan:
    ground = made.ground.promising(unit, 0, known).sooner(unit)
    at = ground.promises[-1].at
    waiting = Waiting(unit, _shortage(made.ground, unit), at, is_promised=at is not None)
    return replace(made, ground=ground, waiting=(*made.waiting, waiting))


def _shortage(ground: Ground, unit: Unit) -> Code:
    """Why a unit that nobody is ahead of finds no GPUs; where it would, they are kept for a booking."""
    if ground.free.fits_now(unit):
        return Code.BEHIND_OTHERS
    is_part = unit.nodes > 1 and ground.free.fits_now(replace(unit, nodes=1))
    return Code.GANG_INCOMPLETE if is_part else Code.NO_CAPACITY


def _told(made: Plan, looked_ahead: int) -> Iterator[Waiting]:
    """With the time at which those start whom nothing is promised, in the order of the line."""
    ground = made.ground
    for waiting in made.waiting:
        if waiting.starts_in_s is not None or waiting.unit.lacks or not looked_ahead:
            yield waiting
            continue
        looked_ahead -= 1
        ground = ground.promising(waiting.unit)
        yield replace(waiting, starts_in_s=ground.promises[-1].at)


def moved(before: Plan, after: Plan) -> list[Unit]:
    """Those who would start now, or are promised a start, and would start later after something has changed."""
    starting = {start.unit.key for start in after.starts}
    promises = {promise.unit.key: promise for promise in after.ground.promises}
    late = [promise.unit for promise in before.ground.promises if _is_later(promise, promises, starting)]
    return [start.unit for start in before.starts if start.unit.key not in starting] + late


def _is_later(promise: Promise, promises: Mapping[str, Promise], starting: Container[str]) -> bool:
    if promise.unit.key in starting or promise.at is None:
        return False
    again = promises.get(promise.unit.key)
    return again is None or is_later(promise, again)
