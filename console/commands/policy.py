"""`pgfleet policy`: how much one user may have; shown, and set and removed by operators."""

from typing import Annotated

import typer

from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.policy import limit_table, policy_table
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.policy.book import EVERYBODY, TEAM, USER, Whose, limits_of, policies, put, typed
from pgfleet.schema.policy.book import remove as take_away
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import reservation as reads

app = typer.Typer(cls=ListsByDefault, add_completion=False)
Limit = Annotated[
    str, typer.Argument(metavar="LIMIT", help="reservations, gpus, hours, hours_week, images, idle_minutes, disks, ...")
]
OfUser = Annotated[str | None, typer.Option("--user", metavar="NAME", help="For this user alone.")]
OfTeam = Annotated[
    str | None, typer.Option("--team", metavar="ID", help="For each member: the id of the team's owner.")
]
OfType = Annotated[str | None, typer.Option("--gpu-type", metavar="TYPE", help="Of gpus: of this type alone.")]


@app.callback(epilog="Example: pgfleet policy --user ada")
def policy() -> None:
    """How much one user may have. Of what is said for a user, a team and everybody, the narrowest counts.

    Without a command: `ls`.
    """


@app.command("ls", epilog="Example: pgfleet policy ls --user ada --json")
def list_policies(
    *,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="What applies to this user, and what is used.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List all policies, or what applies to one user."""
    with database() as conn:
        known = policies(conn) if user is None else [*limits_of(conn, user).values()]
    if as_json:
        print_json(known)
    elif not known:
        out().print("Nothing is limited.")
    else:
        out().print(policy_table(known) if user is None else limit_table(known))


@app.command("set", epilog="Example: pgfleet policy set gpus 4 --gpu-type h100 --user ada", no_args_is_help=True)
def set_policy(  # noqa: PLR0913  # one parameter an option
    limit: Limit,
    most: Annotated[str, typer.Argument(metavar="MOST", help="A number; of images 'a/*,b/*'; none for no limit.")],
    *,
    user: OfUser = None,
    team: OfTeam = None,
    gpu_type: OfType = None,
    as_json: AsJson = False,
) -> None:
    """Say how much one user may have of something. Who has more keeps it, and gets no more."""
    with database() as conn:
        whose = _whose(conn, limit, user, team, gpu_type)
        put(conn, whose, *typed(conn, whose, most), default_user())
    print_result("policy", whose.shown, f"is {printable(most)}", as_json=as_json)


@app.command("remove", epilog="Example: pgfleet policy remove gpus --user ada", no_args_is_help=True)
def remove(
    limit: Limit,
    *,
    user: OfUser = None,
    team: OfTeam = None,
    gpu_type: OfType = None,
    as_json: AsJson = False,
) -> None:
    """Take a policy away; then what is said for more people counts. Without any, there is no limit."""
    with database() as conn:
        whose = _whose(conn, limit, user, team, gpu_type)
        if not take_away(conn, whose, default_user()):
            raise Refusal(f"There is no policy of {whose.shown}. See `pgfleet policy`.")
    print_result("policy", whose.shown, "is removed", as_json=as_json)


def _whose(conn: Connection, limit: str, user: str | None, team: str | None, gpu_type: str | None) -> Whose:
    if user is not None and team is not None:
        raise FleetError("Give --user or --team, or neither for everybody.")
    if gpu_type is not None and gpu_type not in reads.types(conn):
        raise Refusal(f"There is no GPU type {printable(gpu_type)}. See `pgfleet types`.")
    for applies_to, subject in ((USER, user), (TEAM, team)):
        if subject is not None:
            return Whose(limit, applies_to, _name(subject), gpu_type or "")
    return Whose(limit, EVERYBODY, "", gpu_type or "")


def _name(subject: str) -> str:
    if not subject or printable(subject) != subject or len(subject) > 255:
        raise FleetError("--user and --team take a name of 1 to 255 printable characters.")
    return subject
