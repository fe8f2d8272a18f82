"""A line simulated hour by hour, with what is told to those who wait, to be compared with what happened."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pgfleet.console.simulate.line import engine
from pgfleet.console.simulate.line.engine import Fleet, SimulatedLine
from pgfleet.schema.line.plan import Plan
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.unit import Unit

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
# Times that are added up differ by roundings.
A_MOMENT = timedelta(seconds=0.1)


def arrival(at_h: float, unit: Unit, used: float = 1.0, booked_in_h: float | None = None) -> engine.Arrival:
    """With how many hours of what was asked for are used in the end, and when it is booked for."""
    at = BEGIN + timedelta(hours=at_h)
    if booked_in_h is not None:
        unit = Unit(unit.key, unit.gpus, unit.hours, unit.nodes, start_at=at + timedelta(hours=booked_in_h))
    return engine.Arrival(at, unit, timedelta(hours=unit.hours * used))


def simulated(nodes: dict[str, int], total: int) -> "Promising":
    return Promising(Fleet("h100", total, nodes), BEGIN, looked_ahead=50)


@dataclass(slots=True)
class Promising(SimulatedLine):
    """Asserts that no promise is broken, and that nobody has more than there is."""

    told: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    promised: dict[str, datetime] = field(default_factory=dict)

    def come(self, arrival: engine.Arrival) -> bool:
        is_in = SimulatedLine.come(self, arrival)
        if is_in and arrival.unit.start_at is not None:
            self.promised[arrival.unit.key] = arrival.unit.start_at
        return is_in

    def standing(self) -> Standing:
        standing = SimulatedLine.standing(self)
        assert all(left >= 0 for left in standing.room.free.values()), "a node has more than its GPUs"
        assert standing.room.unheld >= 0, "more are held than there are"
        return standing

    def look(self) -> Plan:
        plan = SimulatedLine.look(self)
        for start in plan.starts:
            promise = self.promised.get(start.unit.key)
            assert promise is None or self.now <= promise + A_MOMENT, f"{start.unit.key} starts after its promise"
        for waits in plan.waiting:
            at = None if waits.starts_in_s is None else self.now + timedelta(seconds=waits.starts_in_s)
            if at is not None:
                self.told.setdefault(waits.unit.key, []).append((self.now, at))
            if at is not None and waits.is_promised:
                self._promise(waits.unit.key, at)
        return plan

    def _promise(self, key: str, at: datetime) -> None:
        before = self.promised.get(key)
        assert before is None or at <= before + A_MOMENT, f"{key} starts later than promised: {at} and not {before}"
        self.promised[key] = at
