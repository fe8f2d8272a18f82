"""Where a reservation stands in its line, why it waits, and until when: from real ends only, else unknown."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pgfleet.schema.disk import DISK_IN_USE, SNAPSHOT_PENDING
from pgfleet.schema.reservation import WAITING, CreateReservation, misfit

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
    """GPUs that an active reservation gives back some time after `expires_at`."""

    expires_at: datetime
    gpus: int


@dataclass(frozen=True, slots=True)
class Line:
    """The line of one GPU type at `now`; `waiting` oldest first."""

    gpu_type: str
    total: int
    held: int
    is_active: bool
    now: datetime
    waiting: tuple[Waiter, ...] = ()
    releases: tuple[Release, ...] = ()

    @property
    def free(self) -> int:
        return max(self.total - self.held, 0)


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

    When a disk will be free is unknown.
    """
    if row["status"] not in WAITING or line is None:
        return None
    mine = (row["waiting_since"], row["line_number"], row["reservation_id"])
    ahead = [waiter for waiter in line.waiting if (waiter.since, waiter.number, waiter.reservation_id) < mine]
    paused = row["retry_at"] is not None and row["retry_at"] > line.now
    code = row.get("disk_reason_code") or reason_code(row["current_detailed_status"])
    unknown = paused or code in DISK_CODES
    return Place(code, len(ahead), None if unknown else _eta(line, _gpus(ahead) + (row["gpu_count"] or 0), grace))


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
    ahead = len(line.waiting)
    eta = _eta(line, _gpus(line.waiting) + message.gpu_count, grace)
    if ahead:
        reason = f"{ahead} of this type {'waits' if ahead == 1 else 'wait'} already, and older ones go first"
        return DryRun(starts_now=False, code="BEHIND_OTHERS", reason=reason, ahead=ahead, eta=eta)
    if message.gpu_count > line.free:
        reason = f"{message.gpu_count} GPUs wanted, {line.free} of {line.total} free"
        return DryRun(starts_now=False, code="NO_CAPACITY", reason=reason, eta=eta)
    free = f"{line.free} of {line.total} GPUs are free" if line.total else "this type needs no GPUs"
    return DryRun(starts_now=True, code=None, reason=f"{free} and nobody waits", eta=line.now)


def _eta(line: Line, wanted: int, grace: timedelta) -> datetime | None:
    """When `wanted` GPUs will be free at once, as far as the ends of active reservations tell."""
    if not line.is_active:
        return None
    free, at = line.free, line.now
    for release in sorted(line.releases, key=lambda release: release.expires_at):
        if free >= wanted:
            break
        free, at = free + release.gpus, max(release.expires_at + grace, line.now)
    return at if free >= wanted else None


def _gpus(waiters: tuple[Waiter, ...] | list[Waiter]) -> int:
    return sum(waiter.gpus for waiter in waiters)
