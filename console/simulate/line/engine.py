"""A line of reservations, simulated: planned as workers plan it (`schema/line/`), from event to event. Pure: no clock.

Somebody comes, gives GPUs back, or leaves the line; a booking is due. At each of these moments the line is looked at
as often as somebody starts. Pods that find no node, disks and outages are not simulated.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice

from pgfleet.schema.line.booking import holds
from pgfleet.schema.line.plan import LOOKED_AT, Plan, Start
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.timeline import End
from pgfleet.schema.line.unit import Pace, Unit
from pgfleet.schema.room import Room

STARVING_AFTER = timedelta(hours=24)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A unit that comes; `unit.start_at` is that of a booking.

    Attributes:
        held: how long it will have its GPUs, whatever it was asked for.
        leaves_at: when it leaves the line, if it has not started by then.
    """

    at: datetime
    unit: Unit
    held: timedelta
    leaves_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """The GPUs of one type: the operator's total, and those of each node; no nodes where totals alone count."""

    gpu_type: str
    total: int
    nodes: dict[str, int] = field(default_factory=dict)
    zones: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Held:
    """GPUs that somebody has, until `over_at`; the plan believes until `ends_at`."""

    unit: Unit
    spots: tuple[str, ...]
    ends_at: datetime
    over_at: datetime


@dataclass(slots=True)
class SimulatedLine:
    """The line of a fleet as it goes on.

    Attributes:
        started: when each unit got its GPUs.
        refused: bookings that would not have held.
        left: those that left the line without GPUs.
    """

    fleet: Fleet
    now: datetime
    pace: Pace = field(default_factory=Pace)
    starving_after: timedelta = STARVING_AFTER
    looked_ahead: int = 0
    line: list[Unit] = field(default_factory=list)
    bookings: list[Unit] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    known: dict[str, Arrival] = field(default_factory=dict)
    started: dict[str, datetime] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)

    def run(self, arrivals: Iterable[Arrival]) -> None:
        """Through all arrivals, until nobody waits any more, or nothing can happen to those who do."""
        coming = sorted(arrivals, key=lambda each: each.at, reverse=True)
        while (moment := min(self._moments(coming), default=NEVER)) != NEVER:
            self.now = max(moment, self.now)
            self.held = [each for each in self.held if each.over_at > self.now]
            self._leave()
            while coming and coming[-1].at <= self.now:
                self.come(coming.pop())
            while self.look().starts:
                pass

    def _moments(self, coming: list[Arrival]) -> Iterator[datetime]:
        if not (coming or self.line or self.bookings):
            return
        yield from (each.at for each in coming[-1:])
        yield from (each.over_at for each in self.held)
        yield from (unit.start_at for unit in self.bookings if unit.start_at is not None and unit.start_at > self.now)
        waiting = (self.known[unit.key] for unit in chain(self.line, self.bookings))
        yield from (each.leaves_at for each in waiting if each.leaves_at is not None)

    def come(self, arrival: Arrival) -> bool:
        """Whether somebody is let in: a booking that would not hold is refused."""
        unit = replace(arrival.unit, since=arrival.at)
        self.known[unit.key] = arrival
        if unit.start_at is None or unit.start_at <= self.now:
            self.line.append(replace(unit, start_at=None))
        elif holds(self.standing(), unit):
            self.bookings.append(unit)
        else:
            self.refused.add(unit.key)
            return False
        return True

    def look(self) -> Plan:
        """As the worker's `admit` does: some start, and what others are promised is written down."""
        plan = self.standing().plan(self.looked_ahead)
        for start in plan.starts:
            self._begin(start)
        promises = {
            promise.unit.key: (self.now + timedelta(seconds=promise.at), promise.spots)
            for promise in plan.ground.promises
            if promise.at is not None
        }
        self.line = [_promised(unit, promises) for unit in self.line]
        self.bookings = [_promised(unit, promises) for unit in self.bookings]
        return plan

    def standing(self) -> Standing:
        """What a look at the line sees: its front, and the first behind it that are small enough for what is free."""
        free = dict(self.fleet.nodes)
        for spot, gpus in ((spot, each.unit.gpus) for each in self.held for spot in each.spots):
            free[spot] -= gpus
        unheld = self.fleet.total - sum(each.unit.total for each in self.held)
        most = max(free.values(), default=unheld)
        behind = (unit for unit in self.line[LOOKED_AT:] if unit.total <= unheld and unit.gpus <= most)
        front = (*self.line[:LOOKED_AT], *islice(behind, LOOKED_AT))
        return Standing(
            gpu_type=self.fleet.gpu_type,
            now=self.now,
            room=Room(
                self.fleet.gpu_type,
                unheld,
                free,
                is_seen=bool(self.fleet.nodes),
                zones=self.fleet.zones,
                sizes=self.fleet.nodes,
            ),
            line=tuple(map(self._with_age, front)),
            bookings=tuple(self.bookings),
            ends=tuple(chain(*map(self._ends, self.held))),
            pace=self.pace,
        )

    def _with_age(self, unit: Unit) -> Unit:
        starves = unit.since is not None and self.now - unit.since > self.starving_after
        return replace(unit, is_starving=True) if starves else unit

    def _ends(self, held: Held) -> Iterator[End]:
        """What should be over already may take as long again as teardown does, as `end_of` has it."""
        at = held.ends_at if held.ends_at > self.now else self.now + self.pace.teardown
        spots = held.spots or (None,) * held.unit.nodes
        return (End(at, held.unit.gpus, spot, held.unit.key) for spot in spots)

    def _begin(self, start: Start) -> None:
        unit = start.unit
        ends_at = self.now + timedelta(seconds=self.pace.length_s(unit))
        self.held.append(Held(unit, start.spots, ends_at, self.now + self.known[unit.key].held))
        self.line = [each for each in self.line if each.key != unit.key]
        self.bookings = [each for each in self.bookings if each.key != unit.key]
        self.started[unit.key] = self.now

    def _leave(self) -> None:
        leaves = {key for unit in chain(self.line, self.bookings) if self._is_leaving(key := unit.key)}
        self.left |= leaves
        if leaves:
            self.line = [unit for unit in self.line if unit.key not in leaves]
            self.bookings = [unit for unit in self.bookings if unit.key not in leaves]

    def _is_leaving(self, key: str) -> bool:
        leaves_at = self.known[key].leaves_at
        return leaves_at is not None and leaves_at <= self.now


def _promised(unit: Unit, promises: dict[str, tuple[datetime, tuple[str, ...]]]) -> Unit:
    promise = promises.get(unit.key)
    return unit if promise == unit.promised else replace(unit, promised=promise)
