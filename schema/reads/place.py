"""Where a reservation stands in its line, why it waits, and until when: as the line is planned (`schema/line/`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from pgfleet.schema.disk import DISK_IN_USE, SNAPSHOT_PENDING
from pgfleet.schema.line.plan import Code, Plan, Waiting
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.unit import unit_key
from pgfleet.schema.reservation import WAITING
from pgfleet.schema.room import Room

# Of one that its disk keeps: others of its type pass it.
DISK_CODES = frozenset({DISK_IN_USE, SNAPSHOT_PENDING})
REASON_CODES = frozenset({*Code, "TYPE_DISABLED", *DISK_CODES})
# Of so many is told when they start: further back, it is not worth a guess.
TOLD = 50


@dataclass(frozen=True)
class Line:
    """The line of one GPU type.

    `number` is of all that wait, those too that are paused or kept by a disk.
    """

    gpu_type: str
    total: int
    held: int
    is_active: bool
    standing: Standing
    number: int = 0

    @cached_property
    def plan(self) -> Plan:
        return self.standing.plan(TOLD)

    @cached_property
    def places(self) -> dict[str, int]:
        """How many units go first, for each that is in line; those that are booked for later do not."""
        later = {each.unit.key for each in self.plan.waiting if each.code == Code.SCHEDULED}
        units = [unit.key for unit in self.standing.units if unit.key not in later]
        return {**dict.fromkeys(later, 0), **{key: place for place, key in enumerate(units)}}

    @property
    def now(self) -> datetime:
        return self.standing.now

    @property
    def room(self) -> Room:
        return self.standing.room

    @property
    def unheld(self) -> int:
        """GPUs of the total that nobody has."""
        return max(self.room.unheld, 0)

    @property
    def free(self) -> int:
        """Those of them that nodes have, as far as nodes are known."""
        return min(self.unheld, self.room.total) if self.room.is_seen else self.unheld

    @property
    def next_end(self) -> datetime | None:
        """When GPUs will be free next."""
        return min((end.at for end in self.standing.ends if end.at is not None), default=None)

    def as_json(self) -> dict[str, Any]:
        """As counts, without names."""
        return {
            "gpu_type": self.gpu_type,
            "free_gpus": self.free,
            "total_cluster_gpus": self.total,
            "waiting": self.number,
            "booked": len(self.standing.bookings),
            "next_free_at": self.next_end,
        }


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a line.

    Attributes:
        ahead: how many of the same type go first; paused ones, and those that their disk keeps, do not.
        eta: when it starts, if those before it last as long as they were asked for; None is unknown.
        is_promised: whether it starts by then, whoever comes after it: nobody is let in who would move that.
    """

    code: str | None
    ahead: int
    eta: datetime | None
    is_promised: bool = False

    def as_json(self) -> dict[str, Any]:
        """`position` counts from 1: the next one to start."""
        return {
            "reason_code": self.code,
            "position": self.ahead + 1,
            "ahead": self.ahead,
            "eta": self.eta,
            "eta_is_promised": self.is_promised,
        }


def place(row: Mapping[str, Any], line: Line | None, counted: int | None = None) -> Place | None:
    """The place of a waiting reservation; None for one that does not wait. When a disk will be free is unknown.

    `counted` is how many were before it where it stands in no line: paused, say.
    """
    if row["status"] not in WAITING or line is None:
        return None
    ahead = line.places.get(unit_key(row), counted)
    if ahead is None:
        ahead = sum(unit.since is not None and unit.since < row["waiting_since"] for unit in line.standing.line)
    paused = row["retry_at"] is not None and row["retry_at"] > line.now
    code = _code(row)
    if paused or code in DISK_CODES or not line.is_active:
        return Place(code, ahead, None)
    match line.plan.of(unit_key(row)):
        case Waiting() as waits:
            return Place(code, ahead, line.standing.at(waits.starts_in_s), waits.is_promised)
        case None:
            return Place(code, ahead, None)
        case _:
            return Place(code, ahead, line.now)


def far_place(row: Mapping[str, Any], ahead: int) -> Place | None:
    """The place of a reservation that is too far behind to be told when it starts; None for one that is not."""
    return Place(_code(row), ahead, None) if ahead >= TOLD and row["start_at"] is None else None


def _code(row: Mapping[str, Any]) -> str | None:
    return row.get("disk_reason_code") or reason_code(row["current_detailed_status"])


def reason_code(shown: str | None) -> str | None:
    """The code that `current_detailed_status` begins with while a reservation waits."""
    code = (shown or "").partition(":")[0]
    return code if code in REASON_CODES else None
