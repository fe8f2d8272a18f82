"""`pgfleet cancel`, `extend` and `retry`: what a user asks of a reservation; a worker answers."""

import uuid
from typing import Annotated, Any

import typer

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.showing import print_result
from pgfleet.producers import reservation as producer
from pgfleet.producers.sending import check
from pgfleet.producers.submit.commands import AsJson, Timeout, User
from pgfleet.producers.submit.extending import send_extend
from pgfleet.producers.submit.following import Output
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.reservation import send_retry
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reservation import FINAL, Extend, Retry, Status
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import read_settings

Id = Annotated[str, typer.Argument(metavar="ID", help="A reservation's id, or the beginning of it.")]


@example("pgfleet cancel 3f2a9c1e")
def cancel(given: Id, *, user: User = None, as_json: AsJson = False) -> None:
    """End a reservation, whatever its state; with its whole id even before it is known."""
    owner = user or default_user()
    with database() as conn:
        row = None if _unknown(conn, given) else owned(conn, given, owner)
        if row is None:
            print_result("reservation_id", producer.cancel(given, owner, conn), "sent; not known yet", as_json=as_json)
        elif row["status"] == Status.CANCELLED:
            print_result("reservation_id", row["reservation_id"], "cancelled already", as_json=as_json)
        else:
            refuse_if_over(row)
            print_result(
                "reservation_id", producer.cancel(row["reservation_id"], owner, conn), "cancel sent", as_json=as_json
            )


@example("pgfleet extend 3f2a9c1e --hours 2 --wait")
def extend(  # noqa: PLR0913  # one parameter an option
    given: Id,
    *,
    hours: Annotated[float, typer.Option(help="How many more.")],
    request_id: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The same one again is done once; a new one unless given.")
    ] = None,
    user: User = None,
    following: Annotated[bool, typer.Option("--wait", help="Follow it until a worker has done it.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Give a reservation more hours; says when it will end."""
    owner, most = user or default_user(), read_settings().max_total_hours
    with database() as conn, named_as_options({"extension_hours": "--hours", "request_id": "--request-id"}):
        row = owned(conn, given, owner)
        refuse_if_over(row)
        message = check(
            Extend,
            {
                "reservation_id": row["reservation_id"],
                "user_id": owner,
                "extension_hours": hours,
                "request_id": str(uuid.uuid4()) if request_id is None else request_id,
            },
        )
        total = row["duration_hours"] + hours
        if total > most:
            raise Refusal(f"{total:g} hours in total are more than {most:g}.")
        send_extend(conn, message, row, Output(following, timeout, as_json))


@example("pgfleet retry 3f2a9c1e --wait")
def retry(  # noqa: PLR0913  # one parameter an option
    given: Id,
    *,
    request_id: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The same one again is one reservation, another one another.")
    ] = None,
    user: User = None,
    following: Annotated[bool, typer.Option("--wait", help="Follow the new one until it is active.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Ask for the same again as an ended reservation, however it ended; the ended one stays as it is.

    Prints the id of the new one. It gets what was asked for at first, and is checked as any other. Its disk comes with
    its newest snapshot; what may be lost is said in its warning. It does not wait for the old pod to be gone, but for
    its disk.
    """
    owner = user or default_user()
    with database() as conn:
        row = owned(conn, given, owner)
        if row["status"] not in FINAL:
            short = reads.short(conn, row["reservation_id"])
            raise Refusal(
                f"Reservation {printable(row['reservation_id'])} is {row['status']}. First: pgfleet cancel {short}"
            )
        asked = row["master_reservation_id"] or row["reservation_id"]
        message = check(Retry, {"reservation_id": asked, "user_id": owner, "request_id": request_id})
        send_retry(conn, message, Output(following, timeout, as_json))


def _unknown(conn: Connection, given: str) -> bool:
    """Whether it is a whole id that no row has: its create may still be in the queue."""
    try:
        whole = str(uuid.UUID(given))
    except ValueError:
        return False
    return reads.by_id(conn, whole) is None


def owned(conn: Connection, given: str, user: str) -> Row:
    """The reservation, which is this user's. Raises Refusal where there is none, or it is another's."""
    row = reads.resolve(conn, given, user)
    if row["user_id"] != user:
        raise Refusal(f"Reservation {given} belongs to {printable(row['user_id'])}. If you act for them: --user.")
    return row


def refuse_if_over(row: dict[str, Any]) -> None:
    """Raises Refusal of one that has ended."""
    if row["status"] in FINAL:
        raise Refusal(f"Too late: reservation {printable(row['reservation_id'])} is {row['status']}.")
