"""A line simulated hour by hour, with what is told to those who wait, to be compared with what happened."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pgfleet.schema.line.booking import holds
from pgfleet.schema.line.plan import Plan, Start
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.timeline import End
from pgfleet.schema.line.unit import Pace, Unit
from pgfleet.schema.room import Room

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PACE = Pace()
# Times that are added up differ by roundings.
A_MOMENT = timedelta(seconds=0.1)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody comes: with how many hours of what was asked for are used in the end, and when it is booked for."""

    at_h: float
    unit: Unit
    used: float = 1.0
    booked_in_h: float | None = None


@dataclass(slots=True)
class Held:
    unit: Unit
    spots: tuple[str, ...]
    ends_at: datetime
    over_at: datetime


@dataclass(slots=True)
class Simulated:
    """The nodes by their GPUs; none for a line of which only the total is known."""

    nodes: dict[str, int]
    total: int
    now: datetime = BEGIN
    line: list[Unit] = field(default_factory=list)
    bookings: list[Unit] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    told: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    promised: dict[str, datetime] = field(default_factory=dict)
    started: dict[str, datetime] = field(default_factory=dict)

    def standing(self) -> Standing:
        free = dict(self.nodes)
        for each in self.held:
            for spot in each.spots:
                free[spot] -= each.unit.gpus
        assert all(left >= 0 for left in free.values()), "a node has more than its GPUs"
        unheld = self.total - sum(each.unit.total for each in self.held)
        assert unheld >= 0, "more are held than there are"
        ends = [
            End(each.ends_at, each.unit.gpus, spot)
            for each in self.held
            for spot in (each.spots or (None,) * each.unit.nodes)
        ]
        room = Room("h100", unheld, free, is_seen=bool(self.nodes), sizes=self.nodes)
        return Standing("h100", self.now, room, tuple(self.line), tuple(self.bookings), tuple(ends), PACE)

    def look(self, used: dict[str, float]) -> None:
        """As `admit` does: who starts, and what the others are told."""
        plan = self.standing().plan(looked_ahead=50)
        for start in plan.starts:
            self._begin(start, used[start.unit.key])
        for waits in plan.waiting:
            at = self.standing().at(waits.starts_in_s)
            if at is not None:
                self.told.setdefault(waits.unit.key, []).append((self.now, at))
            if at is not None and waits.is_promised:
                before = self.promised.get(waits.unit.key)
                assert before is None or at <= before + A_MOMENT, (
                    f"{waits.unit.key} starts later than it was promised: {at} and not {before}"
                )
                self.promised[waits.unit.key] = at

        self._write_down(plan)

    def _write_down(self, plan: Plan) -> None:
        """As `admit` does with what it promises."""
        spots = {
            promise.unit.key: (self.now + timedelta(seconds=promise.at), promise.spots)
            for promise in plan.ground.promises
            if promise.at is not None
        }
        self.line = [replace(unit, promised=spots.get(unit.key)) for unit in self.line]
        self.bookings = [replace(unit, promised=spots.get(unit.key)) for unit in self.bookings]

    def _begin(self, start: Start, used: float) -> None:
        length = timedelta(hours=start.unit.hours)
        self.held.append(Held(start.unit, start.spots, self.now + length, self.now + length * used))
        self.line = [unit for unit in self.line if unit.key != start.unit.key]
        self.bookings = [unit for unit in self.bookings if unit.key != start.unit.key]
        self.started[start.unit.key] = self.now
        promise = self.promised.get(start.unit.key)
        assert promise is None or self.now <= promise + A_MOMENT, f"{start.unit.key} starts after what it was promised"

    def come(self, arrival: Arrival) -> bool:
        """Whether somebody is let in: a booking that would not hold is refused."""
        if arrival.booked_in_h is None:
            self.line.append(arrival.unit)
            return True
        unit = replace(arrival.unit, start_at=self.now + timedelta(hours=arrival.booked_in_h))
        if not holds(self.standing(), unit):
            return False
        self.bookings.append(unit)
        self.promised[unit.key] = unit.start_at or self.now
        return True

    def run(self, arrivals: Iterable[Arrival]) -> None:
        """Through all arrivals, starts and ends, until nobody is left who waits."""
        coming = sorted(arrivals, key=lambda each: each.at_h)
        used = {each.unit.key: each.used for each in coming}
        while coming or self.line or self.bookings:
            moments = [BEGIN + timedelta(hours=each.at_h) for each in coming[:1]]
            moments += [each.over_at for each in self.held]
            moments += [unit.start_at for unit in self.bookings if unit.start_at is not None]
            self.now = max(min(moments), self.now)
            self.held = [each for each in self.held if each.over_at > self.now]
            while coming and BEGIN + timedelta(hours=coming[0].at_h) <= self.now:
                self.come(coming.pop(0))
            self.look(used)
