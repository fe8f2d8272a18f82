"""What stands in a line: one reservation, or a gang, which starts whole or not at all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

R = TypeVar("R", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class Unit:
    """What is admitted at once.

    Attributes:
        key: the id of the reservation, of a gang that of its first node.
        gpus: of each of its nodes.
        hours: how long it was asked for, from when it is ready.
        start_at: of one that is booked: not before, and then ahead of all others.
        is_starving: it has waited for so long that nobody may pass it.
        lacks: how many rows of a gang are not in line.
        since: when it came.
        promised: when it starts at the latest, and on which nodes, as a look before this one has written it down.
    """

    key: str
    gpus: int
    hours: float
    nodes: int = 1
    start_at: datetime | None = None
    is_starving: bool = False
    lacks: int = 0
    since: datetime | None = None
    promised: tuple[datetime, tuple[str, ...]] | None = None

    @property
    def total(self) -> int:
        return self.gpus * self.nodes


@dataclass(frozen=True, slots=True)
class Pace:
    """What comes beside a reservation's hours: until it is ready, the grace after they are over, and its teardown."""

    preparing: timedelta = timedelta()
    grace: timedelta = timedelta()
    teardown: timedelta = timedelta()

    def length_s(self, unit: Unit) -> float:
        """From its admission until its GPUs are free again."""
        return (self.preparing + timedelta(hours=unit.hours) + self.grace + self.teardown).total_seconds()


def unit_key(row: Mapping[str, Any]) -> str:
    """What the rows of a gang have in common; a reservation of its own is alone."""
    return str(row["master_reservation_id"] or row["reservation_id"])


def in_units(rows: Iterable[R]) -> list[list[R]]:
    """The rows of each unit, by their nodes; units as they come first."""
    units: dict[str, list[R]] = {}
    for row in rows:
        units.setdefault(unit_key(row), []).append(row)
    return [sorted(unit, key=lambda row: row["node_index"] or 0) for unit in units.values()]


def unit_of(row: Mapping[str, Any]) -> Unit:
    """A row of `fronts_of_lines` or `booked_units` (177)."""
    return Unit(
        key=row["reservation_id"],
        gpus=row["gpu_count"],
        hours=row["duration_hours"],
        nodes=row["nodes"],
        start_at=row["start_at"],
        is_starving=row["is_starving"],
        lacks=row["nodes"] - row["in_line"],
        since=row["waiting_since"],
        promised=(row["promised_at"], tuple(row["promised_nodes"] or ())) if row["promised_at"] else None,
    )
