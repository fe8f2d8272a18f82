"""`pgfleet submit` through the API: reservations; what else is sent needs the database."""

from functools import cached_property
from typing import Any

import typer

from pgfleet.console.remote import rows
from pgfleet.console.remote.client import Api, api
from pgfleet.console.remote.following import Reservation
from pgfleet.console.remote.swapping import needs_database
from pgfleet.producers.submit.app import app
from pgfleet.producers.submit.dry_run import sentence
from pgfleet.producers.submit.following import Output, report
from pgfleet.producers.submit.terminal import EXIT_FAILED, err, out, print_json
from pgfleet.schema.reads.trial import DryRun
from pgfleet.schema.reservation import CreateReservation

__all__ = ["There", "app"]


class There:
    """Sends reservations; asked for a database, it refuses."""

    def __call__(self) -> str:
        raise needs_database("It")

    @cached_property
    def api(self) -> Api:
        return api()

    def username(self) -> str:
        return self.api.username

    def ask(self, message: CreateReservation, *, as_json: bool) -> None:
        seen = self.api.post("/v1/reservations:dry-run", _body(message))
        answer = _answer(seen)
        if as_json:
            print_json(seen)
        else:
            out().print(sentence(answer, (answer.eta - self.api.now).total_seconds() if answer.eta else None))
        if not answer.starts_now and not answer.is_booked:
            raise typer.Exit(EXIT_FAILED)

    def send(self, message: CreateReservation, *, follows: bool, timeout_s: float | None, as_json: bool) -> None:
        row_id = message.reservation_id
        self.api.post("/v1/reservations", _body(message), key=row_id)
        if follows:
            err().print(f"sent {row_id}")
            Reservation(self.api, row_id).follow(Output(follows, timeout_s, as_json))
        else:
            report(f"sent {row_id}", row_id, {"reservation_id": row_id, "sent": True} if as_json else None)


def _body(message: CreateReservation) -> dict[str, Any]:
    return message.model_dump(mode="json", exclude_unset=True, exclude={"action"})


def _answer(seen: dict[str, Any]) -> DryRun:
    known = rows.timed(seen)
    return DryRun(
        starts_now=known["starts_now"],
        code=known["reason_code"],
        reason=known["reason"],
        ahead=known["ahead"],
        eta=known["eta"],
        next_times=tuple(known["next_times"]),
        is_booked=bool(known["would_hold"]),
    )
