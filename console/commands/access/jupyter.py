"""`pgfleet jupyter`: Jupyter of a reservation, switched on and off, and where it is."""

import uuid

import typer

from pgfleet.console.commands.requests import Id, owned, refuse_if_over
from pgfleet.console.connection import database
from pgfleet.producers.sending import check
from pgfleet.producers.submit.asking import send_request
from pgfleet.producers.submit.commands import AsJson, Following, Timeout, User
from pgfleet.producers.submit.following import Look, Output
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.pod import jupyter_address
from pgfleet.schema.reservation import DisableJupyter, EnableJupyter, Status
from pgfleet.schema.rows.row import Row

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback(epilog="Example: pgfleet jupyter on 3f2a9c1e --wait")
def jupyter() -> None:
    """Jupyter of a reservation: on, off, and where it is."""


@app.command(epilog="Example: pgfleet jupyter on 3f2a9c1e --wait")
def on(
    given: Id, *, user: User = None, following: Following = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Have Jupyter in it, in a gang on its first node. With --wait: its address, with the token, as a browser takes it.

    Its image needs `jupyter`. Switched on again after it has failed, it is tried again.
    """
    with database() as conn:
        _ask(conn, EnableJupyter, given, user or default_user(), Output(following, timeout, as_json))


@app.command(epilog="Example: pgfleet jupyter off 3f2a9c1e")
def off(
    given: Id, *, user: User = None, following: Following = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Have none any more: its port is closed, the program in the pod ends, and its token opens nothing."""
    with database() as conn:
        _ask(conn, DisableJupyter, given, user or default_user(), Output(following, timeout, as_json))


@app.command(epilog="Example: pgfleet jupyter show 3f2a9c1e")
def show(given: Id, *, user: User = None, as_json: AsJson = False) -> None:
    """Print its address with the token, as a browser takes it. For the user whose reservation it is."""
    with database() as conn:
        row = _with_jupyter(conn, given, user or default_user())
        address = jupyter_address(conn, row) if row["status"] == Status.ACTIVE else None
    if as_json:
        print_json({"reservation_id": row["reservation_id"], "address": address, "error": row["jupyter_error"]})
    elif address is not None:
        out().print(address, soft_wrap=True, markup=False)
    else:
        raise Refusal(why_not(row))


def _with_jupyter(conn: Connection, given: str, user: str) -> Row:
    """The row that has it: of a gang its first node's, whichever is named."""
    row = owned(conn, given, user)
    return owned(conn, row["master_reservation_id"], user) if row["node_index"] else row


def why_not(row: Row) -> str:
    """Why it has no address."""
    if not row["jupyter_enabled"]:
        return f"It has no Jupyter. First: pgfleet jupyter on {printable(row['reservation_id'])}"
    if row["jupyter_error"]:
        return f"Its Jupyter does not run: {printable(row['jupyter_error'])}"
    if row["status"] != Status.ACTIVE:
        return f"It is {row['status']}: Jupyter comes when it is active."
    return "It has no address yet, or its token is not yours to read."


def _ask(conn: Connection, wanted: type[EnableJupyter | DisableJupyter], given: str, user: str, output: Output) -> None:
    row = _with_jupyter(conn, given, user)
    refuse_if_over(row)
    fields = {"reservation_id": row["reservation_id"], "user_id": user, "request_id": str(uuid.uuid4())}

    def result(row: Row, told: str) -> Look | None:
        """On is when it can be reached, or can't be had; off is when it can be no more."""
        if row["jupyter_enabled"] and row["jupyter_error"]:
            return Look(row, f"Jupyter does not run: {printable(row['jupyter_error'])}", failed=True)
        if row["jupyter_enabled"] and row["status"] == Status.ACTIVE:
            address = jupyter_address(conn, row)
            return None if address is None else Look(row, told, result=address, more={"address": address})
        if row["jupyter_url"] is None:
            return Look(row, told, result=told if row["status"] == Status.ACTIVE else f"{told}, when it is active")
        return None

    send_request(conn, check(wanted, fields), output, result)
