"""`pgfleet cancel` and `pgfleet extend`: what a user asks of a reservation; a worker answers."""

import uuid
from typing import Annotated, Any

import typer

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.showing import print_result
from pgfleet.producers import reservation as producer
from pgfleet.producers.submit.commands import AsJson, User
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import Refusal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reservation import FINAL, Status
from pgfleet.schema.settings import read_settings

Id = Annotated[str, typer.Argument(metavar="ID", help="A reservation's id, or the beginning of it.")]


@example("pgfleet cancel 3f2a9c1e")
def cancel(given: Id, *, user: User = None, as_json: AsJson = False) -> None:
    """End a reservation, whatever its state; with its whole id even before it is known."""
    owner = user or default_user()
    with database() as conn:
        row = None if _unknown(conn, given) else _owned(conn, given, owner)
        if row is None:
            print_result("reservation_id", producer.cancel(given, owner, conn), "sent; not known yet", as_json=as_json)
        elif row["status"] == Status.CANCELLED:
            print_result("reservation_id", row["reservation_id"], "cancelled already", as_json=as_json)
        else:
            _refuse_if_over(row)
            print_result(
                "reservation_id", producer.cancel(row["reservation_id"], owner, conn), "cancel sent", as_json=as_json
            )


@example("pgfleet extend 3f2a9c1e --hours 2")
def extend(
    given: Id,
    *,
    hours: Annotated[float, typer.Option(help="How many more.")],
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Give a reservation more hours."""
    owner, most = user or default_user(), read_settings().max_total_hours
    with database() as conn:
        row = _owned(conn, given, owner)
        _refuse_if_over(row)
        total = row["duration_hours"] + hours
        if total > most:
            raise Refusal(f"{total:g} hours in total are more than {most:g}.")
        print_result(
            "reservation_id", producer.extend(row["reservation_id"], owner, hours, conn), "extend sent", as_json=as_json
        )


def _unknown(conn: Connection, given: str) -> bool:
    """Whether it is a whole id that no row has: its create may still be in the queue."""
    try:
        whole = str(uuid.UUID(given))
    except ValueError:
        return False
    return reads.by_id(conn, whole) is None


def _owned(conn: Connection, given: str, user: str) -> dict[str, Any]:
    row = reads.resolve(conn, given, user)
    if row["user_id"] != user:
        raise Refusal(f"Reservation {given} belongs to {row['user_id']}. If you act for them: --user.")
    return row


def _refuse_if_over(row: dict[str, Any]) -> None:
    if row["status"] in FINAL:
        raise Refusal(f"Too late: reservation {row['reservation_id']} is {row['status']}.")
