"""`pgfleet accounts`: who is let in by the API, and in which role. The first administrator is made here."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.people import account_table
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.schema.errors import FleetError
from pgfleet.schema.identity import accounts, passwords
from pgfleet.schema.printable import plural
from pgfleet.schema.queue.kernel import Connection

app = typer.Typer(cls=ListsByDefault, add_completion=False)
LONGEST_LINE = 1000
Account = Annotated[str, typer.Argument(metavar="EMAIL|ID", help="An account, by its e-mail or its number.")]
Role = Annotated[str, typer.Argument(metavar="ROLE", help="USER, DEVOPS or ADMIN.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin, one line.")]


@app.callback(epilog="Example: pgfleet accounts add ada@example.org --role ADMIN")
def api_accounts() -> None:
    """Accounts of the HTTP API: people, their roles, and whether they are let in. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet accounts ls --json")
def list_accounts(
    account: Annotated[str | None, typer.Argument(metavar="[EMAIL|ID]", help="Only this one.")] = None,
    *,
    after: Annotated[int | None, typer.Option(metavar="ID", help="Only those with a higher number.")] = None,
    most: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 200,
    as_json: AsJson = False,
) -> None:
    """List accounts: role, username, how they sign in, and whether they are let in."""
    with database() as conn:
        found = accounts.listing(conn, account, after=after, most=most)
    if as_json:
        print_json(found)
    elif not found:
        out().print(
            "There is no such account. `pgfleet accounts add EMAIL --role ADMIN` makes the first administrator."
        )
    else:
        out().print(account_table(found))


app.command("list", hidden=True)(list_accounts)


@app.command("add", epilog="Example: pgfleet accounts add ada@example.org --role ADMIN", no_args_is_help=True)
def add(  # noqa: PLR0913  # one parameter an option
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Whose it is; people sign in with it.")],
    *,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="The person's name.")] = None,
    role: Annotated[str | None, typer.Option(help="USER (unless given), DEVOPS or ADMIN; stays if given.")] = None,
    username: Annotated[str | None, typer.Option(help="What their rows are kept by; the e-mail, unless given.")] = None,
    from_stdin: FromStdin = False,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="They sign in with their issuer, or get a password later.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an account that signs in with a password, which is asked for and never shown."""
    hashed = None if no_password else _new_password(from_stdin=from_stdin)
    with database() as conn:
        number = accounts.add(
            conn, email, full_name=name, role=role and role.upper(), username=username, password_hash=hashed
        )
    if as_json:
        print_json({"account": number, "email": email, "result": "made"})
    else:
        print_result("account", f"account {number}, {email}:", f"made, as {(role or 'USER').upper()}", as_json=False)


@app.command("role", epilog="Example: pgfleet accounts role ada@example.org DEVOPS", no_args_is_help=True)
def give_role(account: Account, role: Role, *, as_json: AsJson = False) -> None:
    """Give an account a role. It stays, whatever the account's issuer says."""

    def change(conn: Connection) -> str:
        accounts.set_role(conn, account, role.upper())
        return f"is {role.upper()}"

    _do(account, change, as_json=as_json)


@app.command("activate", epilog="Example: pgfleet accounts activate ada@example.org", no_args_is_help=True)
def activate(account: Account, *, as_json: AsJson = False) -> None:
    """Let an account in again."""

    def change(conn: Connection) -> str:
        accounts.set_active(conn, account, active=True)
        return "is let in"

    _do(account, change, as_json=as_json)


@app.command("deactivate", epilog="Example: pgfleet accounts deactivate ada@example.org", no_args_is_help=True)
def deactivate(account: Account, *, as_json: AsJson = False) -> None:
    """Let an account in no more, whatever its proof: from the next request on. Its reservations go on."""

    def change(conn: Connection) -> str:
        accounts.set_active(conn, account, active=False)
        return "is let in no more"

    _do(account, change, as_json=as_json)


@app.command("password", epilog="Example: pgfleet accounts password ada@example.org", no_args_is_help=True)
def password(account: Account, *, from_stdin: FromStdin = False, as_json: AsJson = False) -> None:
    """Give an account another password, which is asked for and never shown. Where it is signed in, that ends."""
    hashed = _new_password(from_stdin=from_stdin)

    def change(conn: Connection) -> str:
        accounts.set_password(conn, account, hashed)
        return "has another password"

    _do(account, change, as_json=as_json)


@app.command("unlock", epilog="Example: pgfleet accounts unlock ada@example.org", no_args_is_help=True)
def unlock(account: Account, *, as_json: AsJson = False) -> None:
    """Forget wrong passwords for an account, so that nobody has to wait for them."""

    def change(conn: Connection) -> str:
        number = accounts.unlock(conn, account)
        return f"unlocked: wrong passwords from {number} address{'es' * (number != 1)} are forgotten"

    _do(account, change, as_json=as_json)


@app.command("bind", epilog="Example: pgfleet accounts bind ada@example.org ada", no_args_is_help=True)
def bind(
    account: Account,
    username: Annotated[str, typer.Argument(metavar="USERNAME", help="What `user_id` of their rows is.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Bind a username to an account, though reservations, disks or a login have it already: it gets what is theirs.

    Keys of the name that the account had end, and so do those that this name had.
    """

    def change(conn: Connection) -> str:
        ended = accounts.bind(conn, account, username)
        return f"is {username}" + (f"; {plural(ended, 'key')} ended" if ended else "")

    _do(account, change, as_json=as_json)


def _do(account: str, change: Callable[[Connection], str], *, as_json: bool) -> None:
    with database() as conn:
        result = change(conn)
    print_result("account", account, result, as_json=as_json)


def _new_password(*, from_stdin: bool) -> str:
    """The hash of a password that somebody types, or that a program writes to stdin.

    Raises:
        FleetError: nobody can be asked. Refusal: it can't be one.
    """
    if from_stdin:
        given = sys.stdin.readline(LONGEST_LINE).rstrip("\r\n")
    elif sys.stdin.isatty():
        given = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise FleetError("Nobody can be asked for a password here: write it to stdin, with --password-stdin.")
    return passwords.hash_of(given)
