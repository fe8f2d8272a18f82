"""`pgfleet subscriptions`: who is told of which events, how deliveries fare, and what their user asks of them."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from pgfleet.console.commands.events.subscribing import Id
from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.parts import cell, facts, table
from pgfleet.console.showing import print_result
from pgfleet.producers import event as producer
from pgfleet.producers.submit.commands import AsJson, User
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.printable import minute
from pgfleet.schema.reads.event.subscription import listing, resolve
from pgfleet.schema.rows.row import Row

app = typer.Typer(cls=ListsByDefault, add_completion=False)
SHORT = 8
STYLES = {"failing": "yellow", "off": "dim"}


@app.callback(epilog="Example: pgfleet subscriptions --json")
def subscriptions() -> None:
    """Who is told of which events. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet subscriptions ls --all")
def list_subscriptions(
    *,
    user: User = None,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody's.")] = False,
    as_json: AsJson = False,
) -> None:
    """List subscriptions: where to, of what, and how the last delivery was answered."""
    with database() as conn:
        known = listing(conn, None if everybody else user or default_user())
    print_listed(known, as_json=as_json)


def print_listed(known: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        print_json(known)
    elif not known:
        out().print("No subscriptions. Make one: pgfleet subscribe URL")
    else:
        out().print(_table(known))


@app.command("show", epilog="Example: pgfleet subscriptions show 3f2a9c1e", no_args_is_help=True)
def show(given: Id, *, user: User = None, as_json: AsJson = False) -> None:
    """Show one: up to where it was delivered, the last answer, when the next try is. More: `pgfleet deliveries`."""
    with database() as conn:
        row = resolve(conn, given, user or default_user())
    print_one(row, as_json=as_json)


def print_one(row: Row, *, as_json: bool) -> None:
    if as_json:
        print_json(row)
    else:
        out().print(facts((name, cell(_shown(value))) for name, value in row.items() if value is not None))


@app.command("test", epilog="Example: pgfleet subscriptions test 3f2a9c1e", no_args_is_help=True)
def send_test(given: Id, *, user: User = None, as_json: AsJson = False) -> None:
    """Send one event that says that it is a test. `show` says what was answered."""
    _ask(producer.send_test, given, user, "test sent", as_json=as_json)


@app.command("resume", epilog="Example: pgfleet subscriptions resume 3f2a9c1e", no_args_is_help=True)
def resume(given: Id, *, user: User = None, as_json: AsJson = False) -> None:
    """Go on with one that is off, where it was."""
    _ask(producer.resume, given, user, "resume sent", as_json=as_json)


@app.command("again", epilog="Example: pgfleet subscriptions again 3f2a9c1e 1.812.40117", no_args_is_help=True)
def again(
    given: Id,
    after: Annotated[str, typer.Argument(metavar="POSITION", help="As `show` says it: what came after it.")],
    *,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Deliver what came after a position once more."""
    _ask(partial(producer.send_again, after=after), given, user, "send again sent", as_json=as_json)


def _ask(send: Callable[..., str], given: str, user: str | None, said: str, *, as_json: bool) -> None:
    """Send what is asked of one subscription, and say so."""
    owner = user or default_user()
    with database() as conn:
        row_id = resolve(conn, given, owner)["subscription_id"]
        send(row_id, owner, conn=conn)
    print_result("subscription_id", row_id, said, as_json=as_json)


def _table(known: Iterable[Row]) -> Table:
    made = table("ID", "USER", "TO", "OF", "STATUS", "LAST TAKEN", "ANSWER", fold=("USER", "TO", "OF", "ANSWER"))
    for row in known:
        taken = minute(row["last_delivered_at"]) if row["last_delivered_at"] else "never"
        answer = row["detail"] or (row["status_reason"] if row["status"] == "off" else row["last_answer"])
        shown = (
            row["subscription_id"][:SHORT],
            row["user_id"],
            row["shown_url"],
            _of(row),
            row["status"],
            taken,
            answer,
        )
        made.add_row(*(cell(text, STYLES.get(row["status"], "")) for text in shown))
    return made


def _of(row: Row) -> str:
    """What is wanted, in a few words."""
    words = [*(row["machines"] or ["everything"])]
    if row["states"]:
        words.append(f"that is {'/'.join(row['states'])}")
    if row["row_id"]:
        words.append(row["row_id"])
    if row["of_user"]:
        words.append(f"of {row['of_user']}")
    return " ".join(words)


def _shown(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, list) else value
