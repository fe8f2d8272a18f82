"""`--dry-run`: whether a reservation would start now, and if not, why and when; nothing is sent."""

from dataclasses import replace
from datetime import datetime, timedelta

import typer

from pgfleet.producers.submit.terminal import EXIT_FAILED, out, print_json
from pgfleet.producers.submit.wording import span
from pgfleet.schema.disk import DEFAULT_SIZE_GB
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import disk as disks
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.hold import Asked, with_disk
from pgfleet.schema.reads.place import DryRun, dry_run
from pgfleet.schema.reservation import CreateReservation
from pgfleet.schema.settings import Settings


def ask(conn: Connection, message: CreateReservation, settings: Settings, *, as_json: bool) -> None:
    """Print the answer; ends with 1 unless it would start now."""
    line = reads.lines(conn, [message.gpu_type]).get(message.gpu_type)
    gpu_type = reads.types(conn).get(message.gpu_type)
    grace = timedelta(seconds=settings.expiry_grace_s)
    answer = dry_run(message, gpu_type, line, settings.max_hours, grace)
    if message.disk_name is not None and line is not None:
        answer = _with_disk(conn, message, answer, settings, line.now)
    eta_s = (answer.eta - line.now).total_seconds() if answer.eta and line else None
    if as_json:
        print_json(
            {
                "starts_now": answer.starts_now,
                "reason_code": answer.code,
                "reason": answer.reason,
                "ahead": answer.ahead,
                "eta": answer.eta,
            }
        )
    else:
        out().print(_sentence(answer, eta_s), markup=False)
    if not answer.starts_now:
        raise typer.Exit(EXIT_FAILED)


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


def _sentence(answer: DryRun, eta_s: float | None) -> str:
    if answer.starts_now:
        return f"would start now: {answer.reason}"
    if answer.code == "REJECTED":
        return f"would be rejected: {answer.reason}"
    eta = "unknown" if eta_s is None else span(eta_s)
    return f"would wait: {answer.code}: {answer.reason}; ETA {eta}"
