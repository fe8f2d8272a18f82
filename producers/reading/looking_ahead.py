"""What would become of a reservation that is asked for now, as far as can be seen; nothing is sent."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pgfleet.schema.disk import DEFAULT_SIZE_GB
from pgfleet.schema.errors import Refusal
from pgfleet.schema.gang.asked import spread
from pgfleet.schema.nearest import nearest
from pgfleet.schema.policy.book import limits_of
from pgfleet.schema.policy.limits import beyond, refused
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import disk as disks
from pgfleet.schema.reads import operation as operations
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.hold import Asked, with_disk
from pgfleet.schema.reads.trial import DryRun, dry_run
from pgfleet.schema.reservation import CreateReservation
from pgfleet.schema.settings import Settings

# What no worker will ever take.
HOPELESS = ("REJECTED", "TYPE_DISABLED")


def look_ahead(conn: Connection, message: CreateReservation, settings: Settings) -> tuple[DryRun, datetime]:
    """What would become of it, and the database's time."""
    known = reads.types(conn)
    grace = timedelta(seconds=settings.expiry_grace_s)
    line = reads.lines(conn, [message.gpu_type], grace).get(message.gpu_type)
    if line is None:
        return _unknown_type(message.gpu_type, list(known)), about.now(conn)
    message = spread(message, known.get(message.gpu_type))
    answer = dry_run(message, known.get(message.gpu_type), line, settings.max_hours)
    limited = _limited(conn, message)
    if limited is not None and answer.code not in HOPELESS:
        return DryRun(starts_now=False, code="REJECTED", reason=limited), line.now
    if message.disk_name is not None:
        answer = _with_disk(conn, message, answer, settings, line.now)
    return answer, line.now


def _limited(conn: Connection, message: CreateReservation) -> str | None:
    """What it would be beyond of that which its user may have; what waits in the queue before it counts later."""
    limits = limits_of(conn, message.user_id)
    return refused(limits, message) or beyond(limits, message.user_id, reservations=1)


def refuse_hopeless(conn: Connection, message: CreateReservation, settings: Settings) -> None:
    """Before it is sent. What was sent before it may still change its disk: then the worker decides about that.

    Raises:
        Refusal: a worker would reject it; with the reason.
    """
    if message.disk_name is not None and operations.on_their_way(conn, message.user_id, message.disk_name):
        message = message.model_copy(update={"disk_name": None})
    answer, _ = look_ahead(conn, message, settings)
    if answer.code in HOPELESS:
        raise Refusal(answer.reason)


def _unknown_type(name: str, known: list[str]) -> DryRun:
    near = nearest(name, known)
    listed = ", ".join([*near, *(each for each in known if each not in near)]) or "none yet"
    meant = f"; did you mean {near[0]}?" if near else "."
    return DryRun(starts_now=False, code="REJECTED", reason=f"gpu_type: {name} is not known{meant} There are {listed}")


def _with_disk(
    conn: Connection, message: CreateReservation, answer: DryRun, settings: Settings, now: datetime
) -> DryRun:
    """A disk that does not exist yet is no hindrance: it will be made."""
    found = disks.by_name(conn, message.user_id, message.disk_name or "")
    if found is not None:
        return with_disk(answer, Asked(found, message.disk_size_gb, timedelta(seconds=settings.disk_kept_s), now))
    size_gb = message.disk_size_gb or DEFAULT_SIZE_GB
    made = f"disk {message.disk_name} of {size_gb} GB will be made"
    return replace(answer, reason=f"{answer.reason}; {made}") if answer.starts_now else answer


def as_json(answer: DryRun, message: CreateReservation) -> dict[str, Any]:
    """As commands and the API tell it."""
    return {
        "starts_now": answer.starts_now,
        "reason_code": answer.code,
        "reason": answer.reason,
        "ahead": answer.ahead,
        "eta": answer.eta,
        "would_hold": answer.is_booked if message.start_at else None,
        "next_times": answer.next_times,
    }
