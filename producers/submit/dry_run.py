"""`--dry-run`: whether a reservation would start now, and if not, why and when; nothing is sent."""

import typer

from pgfleet.producers.reading import looking_ahead
from pgfleet.producers.submit.terminal import EXIT_FAILED, out, print_json
from pgfleet.producers.submit.wording import span
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.trial import DryRun
from pgfleet.schema.reservation import CreateReservation
from pgfleet.schema.settings import Settings


def ask(conn: Connection, message: CreateReservation, settings: Settings, *, as_json: bool) -> None:
    """Print the answer; ends with 1 unless it would start now, or when it is booked for."""
    answer, now = looking_ahead.look_ahead(conn, message, settings)
    eta_s = (answer.eta - now).total_seconds() if answer.eta else None
    if as_json:
        print_json(looking_ahead.as_json(answer, message))
    else:
        out().print(sentence(answer, eta_s))
    if not answer.starts_now and not answer.is_booked:
        raise typer.Exit(EXIT_FAILED)


def sentence(answer: DryRun, eta_s: float | None) -> str:
    """What would become of it."""
    if answer.starts_now:
        return f"would start now: {answer.reason}"
    if answer.is_booked:
        return f"would be booked: {answer.reason}"
    if answer.code == "REJECTED":
        return f"would be rejected: {answer.reason}"
    eta = "unknown" if eta_s is None else span(eta_s)
    return f"would wait: {answer.code}: {answer.reason}; ETA {eta}"
