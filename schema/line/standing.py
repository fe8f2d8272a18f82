"""How a line stands at a moment: all that its plan is made of."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from pgfleet.schema.line.ground import Ground, Spot, is_later
from pgfleet.schema.line.plan import Plan, plan
from pgfleet.schema.line.timeline import End, timeline
from pgfleet.schema.line.unit import Pace, Unit
from pgfleet.schema.room import Room

# So long after its time a booking waits for GPUs that are about to be free, rather than take those of the head.
IN_TIME_S = 120


@dataclass(frozen=True, slots=True)
class Standing:
    """The line of one GPU type at `now`: as many from its front as were asked for.

    Attributes:
        line: in the order in which they are let in; those that are booked are in `bookings`.
        ends: of GPUs that somebody holds.
        extensions_win: whether an extension may move what is promised.
    """

    gpu_type: str
    now: datetime
    room: Room
    line: tuple[Unit, ...] = ()
    bookings: tuple[Unit, ...] = ()
    ends: tuple[End, ...] = ()
    pace: Pace = field(default_factory=Pace)
    extensions_win: bool = False

    @property
    def units(self) -> tuple[Unit, ...]:
        return (*self.bookings, *self.line)

    def ground(self) -> Ground:
        """What is free and will be, with the promises to bookings."""
        bookings = sorted((unit for unit in self.bookings if not unit.lacks), key=_by_start)
        ground = Ground(timeline(self.room, self.ends, self.now), self.pace)
        anew = []
        for unit in bookings:
            kept = ground.as_known(unit, self.not_before(unit), self.known(unit))
            if kept is None:
                anew.append(unit)
            else:
                ground = kept
        # Whose place is not free in time gets another one, which is nobody's: what was promised to others is kept.
        for unit in anew:
            ground = self._beside_head(ground, unit)
        for unit in bookings:
            ground = self._sooner(ground, unit)
        return ground

    def _sooner(self, ground: Ground, unit: Unit) -> Ground:
        """With the promise to a booking as soon as it is possible now, beside the head if it can be."""
        mine = next(promise for promise in ground.promises if promise.unit.key == unit.key)
        left = ground.releasing(unit.key)
        if mine.at is not None and not is_later(left.promising(unit, mine.not_before).promises[-1], mine):
            return ground
        again = self._beside_head(left, unit)
        return again if mine.at is None or is_later(again.promises[-1], mine) else ground

    def _beside_head(self, ground: Ground, booked: Unit) -> Ground:
        """With a booking where it takes nothing of the head's, if it is in time there, or no later than elsewhere."""
        alone = ground.promising(booked, self.not_before(booked))
        head = next((unit for unit in self.line if unit.promised is not None), None)
        if head is None:
            return alone
        both = ground.promising(head, 0, self.known(head)).promising(booked, self.not_before(booked))
        beside = both.promises[-1]
        if beside.at is None:
            return alone
        is_in_time = beside.at <= self.seconds_to(booked.start_at) + IN_TIME_S
        return both.releasing(head.key) if is_in_time or not is_later(alone.promises[-1], beside) else alone

    def not_before(self, unit: Unit) -> float:
        return max(self.seconds_to(unit.start_at), 0)

    def known(self, unit: Unit) -> Spot | None:
        """Its promise as it is written down: one that is past is for now."""
        if unit.promised is None:
            return None
        at, spots = unit.promised
        return max(self.seconds_to(at), self.not_before(unit)), spots

    def plan(self, looked_ahead: int = 0) -> Plan:
        known = {unit.key: spot for unit in self.line if (spot := self.known(unit)) is not None}
        return plan(self.ground(), self.line, known, looked_ahead)

    def without(self, keys: Iterable[str]) -> "Standing":
        """Without these units: their disks keep them, say."""
        gone = frozenset(keys)
        return replace(
            self,
            line=tuple(unit for unit in self.line if unit.key not in gone),
            bookings=tuple(unit for unit in self.bookings if unit.key not in gone),
        )

    def seconds_to(self, at: datetime | None) -> float:
        return 0 if at is None else (at - self.now).total_seconds()

    def at(self, in_s: float | None) -> datetime | None:
        return None if in_s is None else self.now + timedelta(seconds=in_s)


def _by_start(unit: Unit) -> tuple[datetime, str]:
    assert unit.start_at is not None  # noqa: S101  # it is booked
    return unit.start_at, unit.key


class Held(NamedTuple):
    """GPUs that one row holds, as `ends` of `queries.sql` reads them.

    Attributes:
        counted_from: when an active one expires; since when another is preparing, or ending.
        node: as in `End`, and `kept_to` too.
    """

    gpu_type: str
    is_stuck: bool
    status: str
    counted_from: datetime | None
    duration_hours: float
    gpus: int
    node: str | None
    unit: str
    kept_to: str | None


def end_of(held: Held, pace: Pace, now: datetime) -> End:
    """When GPUs are free: after `expires_at` come the grace and what teardown takes.

    What should be over already may take as long again as teardown does. Nobody knows when one ends that never expires:
    somebody has written it by hand.
    """
    match held.status:
        case _ if held.is_stuck or held.counted_from is None:
            return End(None, held.gpus, held.node, held.unit, held.kept_to)
        case "active":
            at = held.counted_from + pace.grace + pace.teardown
        case "preparing":
            ready = max(held.counted_from + pace.preparing, now)
            at = ready + timedelta(hours=held.duration_hours) + pace.grace + pace.teardown
        case _:
            at = held.counted_from + pace.teardown
    return End(max(at, now + pace.teardown), held.gpus, held.node, held.unit, held.kept_to)
