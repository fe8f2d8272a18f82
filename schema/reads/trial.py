"""A dry run: whether a reservation would start now, or at the time that it is booked for, and if not, why and when."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pgfleet.schema.line.booking import Booked, book, out_of_reach, unit_asked_for
from pgfleet.schema.line.plan import Code, Start
from pgfleet.schema.line.unit import Unit
from pgfleet.schema.line.words import words
from pgfleet.schema.printable import minute, plural
from pgfleet.schema.reads.place import TOLD, Line
from pgfleet.schema.reservation import CreateReservation, misfit


@dataclass(frozen=True, slots=True)
class DryRun:
    """Whether a reservation would start now, or when it is booked for; `code` is REJECTED where it never would.

    Attributes:
        eta: when it would start; None where nobody knows.
        next_times: of one that is booked for a time at which it can't start, when it could.
    """

    starts_now: bool
    code: str | None
    reason: str
    ahead: int = 0
    eta: datetime | None = None
    next_times: tuple[datetime, ...] = ()
    is_booked: bool = False


def dry_run(
    message: CreateReservation, gpu_type: Mapping[str, Any] | None, line: Line | None, max_hours: float
) -> DryRun:
    """What would become of a reservation sent now."""
    refused = misfit(message, gpu_type, max_hours)
    if refused or line is None:
        return DryRun(starts_now=False, code="REJECTED", reason=refused or "")
    if not line.is_active:
        return DryRun(starts_now=False, code="TYPE_DISABLED", reason=f"gpu_type: {line.gpu_type} is switched off")
    if message.start_at is not None:
        refused = out_of_reach(message.start_at, line.now, line.now)
        if refused is not None:
            return DryRun(starts_now=False, code="REJECTED", reason=refused)
    if message.start_at is not None and message.start_at > line.now:
        return _booked(book(line.standing, unit_asked_for(message)))
    return _in_line(unit_asked_for(message), line)


def _booked(found: Booked) -> DryRun:
    if found.problem is None:
        at = found.start_at
        return DryRun(
            starts_now=False, code="SCHEDULED", reason=f"it would start at {minute(at)}", eta=at, is_booked=True
        )
    return DryRun(starts_now=False, code="REJECTED", reason=found.problem, next_times=found.next_times)


def _in_line(unit: Unit, line: Line) -> DryRun:
    """As if it stood behind all others."""
    asked = replace(line.standing, line=(*line.standing.line, unit))
    plan = asked.plan(min(len(asked.line), TOLD))
    found, ahead = plan.of(unit.key), len(line.standing.line)
    if unit.gpus == 0 and line.room.why_none:
        return DryRun(starts_now=False, code="NO_CAPACITY", reason=line.room.why_none)
    if isinstance(found, Start):
        return DryRun(starts_now=True, code=None, reason=_free(unit, line, ahead), eta=line.now)
    if found is None or (ahead and found.code == Code.BEHIND_OTHERS):
        wait, go = ("waits", "goes") if ahead == 1 else ("wait", "go")
        reason = f"{ahead} of this type {wait} already, and {go} first"
        eta = None if found is None else asked.at(found.starts_in_s)
        return DryRun(starts_now=False, code=Code.BEHIND_OTHERS, reason=reason, ahead=ahead, eta=eta)
    told = words(found, plan, asked, line.total)
    return DryRun(starts_now=False, code=found.code, reason=told, ahead=ahead, eta=asked.at(found.starts_in_s))


def _free(unit: Unit, line: Line, ahead: int) -> str:
    free = (
        f"{line.free} of {plural(line.total, 'GPU')} {'is' if line.free == 1 else 'are'} free"
        if line.total
        else "this type needs no GPUs"
    )
    doubt = f"; {line.room.doubt}" if line.room.doubt and unit.gpus else ""
    waiting = {0: "nobody waits", 1: "the one that waits would not start later for it"}
    nobody = waiting.get(ahead, f"none of the {ahead} that wait would start later for it")
    return f"{free} and {nobody}{doubt}"
