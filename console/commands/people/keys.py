"""`pgfleet keys`: API keys of people and services. A key is shown once and kept nowhere: the database has its hash."""

from typing import Annotated, Any

import typer

from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.people import key_table
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.identity import keys
from pgfleet.schema.printable import minute, printable
from pgfleet.schema.settings import read_settings

app = typer.Typer(cls=ListsByDefault, add_completion=False)
ONCE = "The key is shown once: the database has its hash only. It is sent as `Authorization: Bearer <key>`."


@app.callback(epilog="Example: pgfleet keys --user ada")
def api_keys() -> None:
    """API keys of people and services. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet keys ls --user ada --json")
def list_keys(
    *,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this user or service.")] = None,
    all_too: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    most: Annotated[int, typer.Option("--limit", min=1, max=1000, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List keys, the newest first: whose, until when, when they were last used. A key itself is never shown again."""
    with database() as conn:
        found = keys.listing(conn, user, most=most)
    print_keys(found, all_too=all_too, as_json=as_json)


def print_keys(found: list[Any], *, all_too: bool, as_json: bool) -> None:
    """Those that open something, or all."""
    shown = [row for row in found if all_too or row["is_active"]]
    if as_json:
        print_json(shown)
    elif not shown:
        out().print("There are no keys. `pgfleet keys create` makes one.")
    else:
        out().print(key_table(shown))


app.command("list", hidden=True)(list_keys)


@app.command("create", epilog="Example: pgfleet keys create ada --hours 12 --description laptop", no_args_is_help=True)
def create(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose it is: a person's username, or a service's.")],
    *,
    hours: Annotated[
        float | None, typer.Option(help="How long it lasts: 2, unless given or set; at most a year.")
    ] = None,
    description: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a key, which is shown once. A name that is not there yet is made with it, with the role USER."""
    settings = read_settings()
    hours = settings.key_hours if hours is None else hours
    with database() as conn:
        made = keys.make(
            conn, user, hours=hours, description=description, most_hours=settings.key_max_hours, new_name=True
        )
    if as_json:
        print_json({"key_id": made.key_id, "username": user, "key": made.key, "expires_at": made.expires_at})
        return
    err().print(f"key {made.key_id} of {printable(user)}, until {minute(made.expires_at)}\n{ONCE}")
    out().print(made.key, soft_wrap=True)


@app.command("revoke", epilog="Example: pgfleet keys revoke 17", no_args_is_help=True)
def revoke(
    which: Annotated[str, typer.Argument(metavar="ID|PREFIX", help="Its number, or at least 4 of its first letters.")],
    *,
    as_json: AsJson = False,
) -> None:
    """End a key now."""
    with database() as conn:
        ended = keys.revoke(conn, which)
    if as_json:
        print_json({**ended, "result": "revoked"})
    else:
        print_result(
            "key", f"key {ended['key_id']} ({ended['key_prefix']}) of {ended['username']}", "revoked", as_json=False
        )
