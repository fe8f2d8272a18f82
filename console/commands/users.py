"""`pgfleet users`: Hopsworks users and their assignments: listed, shown, released, suspended, let in again."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.parts import cell
from pgfleet.console.pictures.users import list_picture, user_picture
from pgfleet.console.showing import show
from pgfleet.producers import assignment as producer
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.schema.assignment import FINAL, MACHINE
from pgfleet.schema.errors import Refusal
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import about
from pgfleet.schema.reads import assignment as reads
from pgfleet.schema.reads import hopsworks as clusters

app = typer.Typer(cls=ListsByDefault, add_completion=False)
Given = Annotated[str, typer.Argument(metavar="USER", help="An Auth0 id or e-mail, or the beginning of it.")]


@app.callback(epilog="Example: pgfleet users --waiting")
def users() -> None:
    """Hopsworks users: who is on which cluster, who waits and why. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet users ls --cluster eu-1 --status active")
def list_users(
    *,
    cluster: Annotated[str | None, typer.Option(metavar="NAME|ID", help="Only those on this cluster.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only these: pending, creating_user, active, released, failed, none.")
    ] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those who wait.")] = False,
    most: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List users, those who need somebody first, with why they wait."""
    wanted = reads.read_status(status) if status else None
    with database() as conn:
        cluster_id = clusters.resolve(conn, cluster)["id"] if cluster is not None else None
        filters = reads.UserFilters(cluster_id, wanted, waiting, most)
        show(lambda: look(conn, filters), list_picture, as_json=as_json)


def look(conn: Connection, filters: reads.UserFilters) -> dict[str, Any]:
    found, counts = reads.listing(conn, filters), reads.counts(conn, filters)
    return {"counts": counts, "users": found, "more": max(sum(counts.values()) - len(found), 0)}


@app.command("show", epilog="Example: pgfleet users show ada@example.org")
def show_user(given: Given, *, as_json: AsJson = False) -> None:
    """Show one user: cluster, why it waits, team, account, what happened and what comes next."""
    with database() as conn:
        user_id = reads.resolve_user(conn, given)["user_id"]
        show(lambda: look_at(conn, user_id), user_picture, as_json=as_json)


def look_at(conn: Connection, user_id: str) -> dict[str, Any]:
    user: dict[str, Any] = reads.user(conn, user_id) or {}
    return {
        **user,
        "now": about.now(conn),
        "team": reads.team(conn, user_id),
        "failures": reads.failures(conn, user_id),
        "history": about.history(conn, MACHINE, [user["assignment_id"]]) if user else [],
        "dead_letters": about.letters(conn, reads.USER, user_id),
        "messages": about.messages(conn, reads.USER, user_id),
    }


@app.command(epilog='Example: pgfleet users release ada@example.org --reason "left the company"')
def release(
    given: Given,
    *,
    reason: Annotated[str, typer.Option(help="Why; it stays in the history.")],
    as_json: AsJson = False,
) -> None:
    """Take seat and account back. The account is deactivated, not deleted."""

    def send(conn: Connection, user: dict[str, Any]) -> str:
        if user["status"] in FINAL and not reads.requests(conn, user["user_id"]):
            return f"is {user['status']} already"
        producer.release(user["user_id"], reason, conn)
        return "release sent"

    _ask(given, send, as_json=as_json)


@app.command(epilog="Example: pgfleet users suspend ada@example.org")
def suspend(given: Given, *, as_json: AsJson = False) -> None:
    """Keep a user from logging in, and the team of an owner; they keep their seats."""

    def send(conn: Connection, user: dict[str, Any]) -> str:
        producer.suspend(user["user_id"], conn)
        return f"suspend sent{_and_team(conn, user)}"

    _ask(given, send, as_json=as_json)


@app.command(epilog="Example: pgfleet users reactivate ada@example.org")
def reactivate(given: Given, *, as_json: AsJson = False) -> None:
    """Let a user in again, and the team that was suspended with an owner."""

    def send(conn: Connection, user: dict[str, Any]) -> str:
        if user["suspended_at"] is None and not reads.requests(conn, user["user_id"]):
            return "is not suspended"
        producer.reactivate(user["user_id"], conn)
        return f"reactivate sent{_and_team(conn, user)}"

    _ask(given, send, as_json=as_json)


def _and_team(conn: Connection, user: dict[str, Any]) -> str:
    members = [member for member in reads.team(conn, user["user_id"]) if member["status"] is not None]
    return f", for {len(members)} team members too" if members else ""


def _ask(given: str, send: Callable[[Connection, dict[str, Any]], str], *, as_json: bool) -> None:
    """Ask something of the assignment of a user; it may be on its way.

    Raises:
        Refusal: there is none.
    """
    with database() as conn:
        user = reads.resolve_user(conn, given)
        if user["status"] is None and not reads.requests(conn, user["user_id"]):
            raise Refusal(f"{cell(user['email'])} has no assignment. `pgfleet submit assignment` makes one.")
        done = send(conn, user)
    if as_json:
        print_json({"user_id": user["user_id"], "result": done})
    else:
        out().print(cell(f"{user['email']} ({user['user_id']}) {done}"))
