"""What the database knows of a line: who came when, how long they waited, and how long they had their GPUs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pgfleet.console.simulate.line.engine import Arrival, Fleet
from pgfleet.schema.line.unit import Pace, Unit
from pgfleet.schema.printable import plural
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named

SQL = named(__package__)
# Of less than that nothing is said: so many that got GPUs, over so long.
LEAST_STARTED = 20
LEAST_SPAN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Past:
    """A unit as it really was; `admitted_at` is None where it never got GPUs, `ended_at` where it has not ended."""

    unit: Unit
    came_at: datetime
    admitted_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None = None

    @property
    def waits_from(self) -> datetime:
        """A booking waits from when it was booked for."""
        return max(self.came_at, self.unit.start_at or self.came_at)


@dataclass(frozen=True, slots=True)
class History:
    """The past of a GPU type, from `since` to `now`; `per_node` is how many GPUs a new node has."""

    fleet: Fleet
    per_node: int
    pace: Pace
    starving_after: timedelta
    is_fair_share: bool
    since: datetime
    now: datetime
    units: tuple[Past, ...]

    @property
    def counted(self) -> tuple[Past, ...]:
        """Those whose wait began in this time."""
        return tuple(past for past in self.units if self.since <= past.waits_from <= self.now)

    @property
    def problem(self) -> str | None:
        """Why nothing can be said of it; None where something can."""
        began = [past.came_at for past in self.counted if past.admitted_at is not None]
        span = self.now - min(began, default=self.now)
        if len(began) >= LEAST_STARTED and span >= LEAST_SPAN:
            return None
        hours = span / timedelta(hours=1)
        return (
            f"The history of {self.fleet.gpu_type} is too short to say anything: "
            f"{plural(len(began), 'reservation')} got GPUs, in {hours:.0f} h. "
            f"It takes {LEAST_STARTED}, over {LEAST_SPAN / timedelta(hours=1):.0f} h."
        )

    def held(self, past: Past) -> timedelta:
        """How long it had its GPUs, or will have had; of one that never got any, as long as it was asked for."""
        if past.admitted_at is None:
            return timedelta(seconds=self.pace.length_s(past.unit))
        if past.ended_at is not None:
            return past.ended_at - past.admitted_at
        last = timedelta() if past.expires_at is None else past.expires_at + self.pace.grace - past.admitted_at
        return max(last + self.pace.teardown, self.now - past.admitted_at)

    def arrivals(self) -> list[Arrival]:
        """Those who had GPUs at the beginning come first, with what they still had of them."""
        return [self._arrival(past) for past in self.units]

    def _arrival(self, past: Past) -> Arrival:
        held = self.held(past)
        if past.admitted_at is not None and past.admitted_at < self.since:
            gone = self.since - past.admitted_at
            left = max(past.unit.hours - gone / timedelta(hours=1), 0.01)
            unit = Unit(past.unit.key, past.unit.gpus, left, past.unit.nodes)
            return Arrival(self.since, unit, held - gone)
        leaves_at = past.ended_at if past.admitted_at is None else None
        return Arrival(max(past.came_at, self.since), past.unit, held, leaves_at)


def histories(conn: Connection, names: Iterable[str], span: timedelta, grace: timedelta) -> dict[str, History]:
    """Those of these types that have GPUs; of all where none is named. `grace` follows every expiry."""
    wanted = set(names)
    figures = {row["gpu_type"]: row for row in ask(conn, SQL["figures"])}
    return {name: _history(conn, row, span, grace) for name, row in figures.items() if name in wanted or not wanted}


def _history(conn: Connection, figures: Mapping[str, Any], span: timedelta, grace: timedelta) -> History:
    name, since = figures["gpu_type"], figures["now"] - span
    seen = figures["names"] if figures["is_seen"] else []
    fleet = Fleet(
        gpu_type=name,
        total=figures["total"],
        nodes=dict(zip(seen, figures["sizes"], strict=False)),
        zones=dict(zip(seen, figures["zones"], strict=False)),
    )
    pace = Pace(timedelta(seconds=figures["preparing_s"]), grace, timedelta(seconds=figures["teardown_s"]))
    rows = ask(conn, SQL["units"], gpu_type=name, since=since)
    return History(
        fleet=fleet,
        per_node=figures["max_per_node"] or 1,
        pace=pace,
        starving_after=figures["starving_after"],
        is_fair_share=figures["fair_share"],
        since=since,
        now=figures["now"],
        units=tuple(map(_past, rows)),
    )


def _past(row: Mapping[str, Any]) -> Past:
    is_booked = row["start_at"] is not None and row["start_at"] > row["came_at"]
    unit = Unit(row["key"], row["gpus"], row["hours"], row["nodes"], start_at=row["start_at"] if is_booked else None)
    return Past(unit, row["came_at"], row["admitted_at"], row["ended_at"], row["expires_at"])
