"""`pgfleet add-user`: somebody else is let into a reservation."""

import uuid
from typing import Annotated

import typer

from pgfleet.console.commands.requests import Id, owned, refuse_if_over
from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.producers.sending import check
from pgfleet.producers.submit.asking import send_request
from pgfleet.producers.submit.commands import AsJson, Following, Timeout, User
from pgfleet.producers.submit.following import Look, Output
from pgfleet.producers.submit.options import named_as_options
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.reservation import AddUser
from pgfleet.schema.rows.row import Row


@example("pgfleet add-user 3f2a9c1e grace --wait")
def add_user(  # noqa: PLR0913  # one parameter an option
    given: Id,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Their name at GitHub, whose SSH keys let them in.")],
    *,
    user: User = None,
    following: Following = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Let somebody else into a reservation by SSH, at once if it is active.

    Whoever has no SSH key at GitHub is named in its warning; asked for again, their keys of then let them in.
    """
    owner = user or default_user()
    with database() as conn, named_as_options({"github_username": "NAME"}):
        row = owned(conn, given, owner)
        refuse_if_over(row)
        fields = {"reservation_id": row["reservation_id"], "user_id": owner, "github_username": name}
        message = check(AddUser, {**fields, "request_id": str(uuid.uuid4())})
        send_request(conn, message, Output(following, timeout, as_json), _result)


def _result(row: Row, told: str) -> Look:
    return Look(row, told, result=told, more={"warning": row["warning"]})
