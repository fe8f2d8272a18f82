"""Where a reservation stands in its line, why it waits, and until when: from real ends only, else unknown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pgfleet.schema.disk import DISK_IN_USE, SNAPSHOT_PENDING
from pgfleet.schema.printable import plural
from pgfleet.schema.reservation import WAITING, CreateReservation, misfit
from pgfleet.schema.room import Room

# Of one that its disk keeps: others of its type pass it.
DISK_CODES = frozenset({DISK_IN_USE, SNAPSHOT_PENDING})
REASON_CODES = frozenset({"NO_CAPACITY", "BEHIND_OTHERS", "GANG_INCOMPLETE", "TYPE_DISABLED", *DISK_CODES})


@dataclass(frozen=True, slots=True)
class Waiter:
    """Somebody in line who is neither paused nor kept by a disk."""

    reservation_id: str
    gpus: int
    since: datetime
    number: int = 0


@dataclass(frozen=True, slots=True)
class Release:
    """GPUs that an active reservation gives back some time after `expires_at`, of a node where that is known."""

    expires_at: datetime
    gpus: int
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """The line of one GPU type at `now`, oldest first; `passed` are those that no node has room for.

    `number` is of all that wait, those too that are paused or kept by a disk.
    """

    gpu_type: str
    total: int
    held: int
    is_active: bool
    now: datetime
    waiting: tuple[Waiter, ...] = ()
    passed: tuple[Waiter, ...] = ()
    number: int = 0
    releases: tuple[Release, ...] = ()
    room: Room | None = None

    @property
    def unheld(self) -> int:
        """GPUs of the total that nobody has."""
        return max(self.room.unheld if self.room else self.total - self.held, 0)

    @property
    def free(self) -> int:
        """Those of them that nodes have, as far as nodes are known."""
        is_seen = self.room is not None and self.room.is_seen
        return min(self.unheld, self.room.total) if self.room and is_seen else self.unheld


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a line.

    Attributes:
        ahead: how many of the same type go first; paused ones, and those that their disk keeps, do not.
        eta: when enough GPUs will be free for all ahead and this one; None is unknown.
    """

    code: str | None
    ahead: int
    eta: datetime | None

    def as_json(self) -> dict[str, Any]:
        """`position` counts from 1: the next one to start."""
        return {"reason_code": self.code, "position": self.ahead + 1, "ahead": self.ahead, "eta": self.eta}


@dataclass(frozen=True, slots=True)
class DryRun:
    """Whether a reservation would start now; `code` is REJECTED where it never would."""

    starts_now: bool
    code: str | None
    reason: str
    ahead: int = 0
    eta: datetime | None = None


def place(row: Mapping[str, Any], line: Line | None, grace: timedelta) -> Place | None:
    """The place of a waiting reservation; None for one that does not wait. `grace` follows every expiry.

    When a disk will be free is unknown. One that no node has room for has others of that sort ahead, too.
    """
    if row["status"] not in WAITING or line is None:
        return None
    mine = (row["waiting_since"], row["line_number"], row["reservation_id"])
    is_passed = any(waiter.reservation_id == row["reservation_id"] for waiter in line.passed)
    others = (*line.waiting, *line.passed) if is_passed else line.waiting
    ahead = [waiter for waiter in others if (waiter.since, waiter.number, waiter.reservation_id) < mine]
    paused = row["retry_at"] is not None and row["retry_at"] > line.now
    code = row.get("disk_reason_code") or reason_code(row["current_detailed_status"])
    unknown = paused or code in DISK_CODES
    return Place(code, len(ahead), None if unknown else _eta(line, _gpus(ahead), row["gpu_count"] or 0, grace))


def reason_code(shown: str | None) -> str | None:
    """The code that `current_detailed_status` begins with while a reservation waits."""
    code = (shown or "").partition(":")[0]
    return code if code in REASON_CODES else None


def dry_run(
    message: CreateReservation,
    gpu_type: Mapping[str, Any] | None,
    line: Line | None,
    max_hours: float,
    grace: timedelta,
) -> DryRun:
    """What would become of a reservation sent now."""
    refused = misfit(message, gpu_type, max_hours)
    if refused or line is None:
        return DryRun(starts_now=False, code="REJECTED", reason=refused or "")
    if not line.is_active:
        return DryRun(starts_now=False, code="TYPE_DISABLED", reason=f"gpu_type: {line.gpu_type} is switched off")
    ahead, gpus = len(line.waiting), message.gpu_count
    eta = _eta(line, _gpus(line.waiting), gpus, grace)
    if line.room is not None and gpus <= line.unheld and not line.room.fits(gpus):
        eta = _eta(line, _gpus((*line.waiting, *line.passed)), gpus, grace)
        return DryRun(starts_now=False, code="NO_CAPACITY", reason=line.room.shortage(gpus), eta=eta)
    if line.room is not None and not gpus and line.room.why_none:
        return DryRun(starts_now=False, code="NO_CAPACITY", reason=line.room.why_none)
    if ahead:
        reason = f"{ahead} of this type {'waits' if ahead == 1 else 'wait'} already, and older ones go first"
        return DryRun(starts_now=False, code="BEHIND_OTHERS", reason=reason, ahead=ahead, eta=eta)
    if gpus > line.unheld:
        reason = f"{plural(gpus, 'GPU')} wanted, {line.unheld} of {line.total} free"
        return DryRun(starts_now=False, code="NO_CAPACITY", reason=reason, eta=eta)
    free = (
        f"{line.free} of {plural(line.total, 'GPU')} {'is' if line.free == 1 else 'are'} free"
        if line.total
        else "this type needs no GPUs"
    )
    doubt = f"; {line.room.doubt}" if line.room and line.room.doubt and gpus else ""
    return DryRun(starts_now=True, code=None, reason=f"{free} and nobody waits{doubt}", eta=line.now)


def _eta(line: Line, ahead: int, gpus: int, grace: timedelta) -> datetime | None:
    """When GPUs for all ahead and for this one will be free, and its own on one node, as far as real ends tell."""
    if not line.is_active:
        return None
    places = [_free_at(line, line.unheld, ahead + gpus, line.releases, grace)]
    if line.room is not None and line.room.is_seen and gpus:
        places.append(_on_a_node(line, line.room, gpus, grace))
    known = [at for at in places if at is not None]
    return max(known) if len(known) == len(places) else None


def _on_a_node(line: Line, room: Room, gpus: int, grace: timedelta) -> datetime | None:
    ends = [
        _free_at(line, free, gpus, [release for release in line.releases if release.node == node], grace)
        for node, free in room.free.items()
        if node not in room.problems
    ]
    return min((at for at in ends if at is not None), default=None)


def _free_at(line: Line, free: int, wanted: int, releases: Iterable[Release], grace: timedelta) -> datetime | None:
    """When so many will be free at once."""
    at = line.now
    for release in sorted(releases, key=lambda release: release.expires_at):
        if free >= wanted:
            break
        free, at = free + release.gpus, max(release.expires_at + grace, line.now)
    return at if free >= wanted else None


def _gpus(waiters: tuple[Waiter, ...] | list[Waiter]) -> int:
    return sum(waiter.gpus for waiter in waiters)
