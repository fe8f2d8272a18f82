"""`pgfleet dead`: messages that could not be handled, and what a person decides about them."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from pgfleet.console.connection import database
from pgfleet.console.pictures.parts import cell, table
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.printable import printable
from pgfleet.schema.replay import letters

app = typer.Typer(
    help="Messages that could not be handled: list, show, replay, discard.",
    no_args_is_help=True,
    add_completion=False,
)
Numbers = Annotated[list[int], typer.Argument(metavar="NUMBER...", help="As `pgfleet dead list` shows.")]


@app.command("list", epilog="Example: pgfleet dead list --queue gpu_reservations")
def list_letters(
    *,
    queue: Annotated[str | None, typer.Option(help="Only of this queue.")] = None,
    answered_too: Annotated[bool, typer.Option("--all", help="Answered ones, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first."""
    with database() as conn:
        found = [_without_values(letter) for letter in letters.listing(conn, queue, answered_too=answered_too)]
    if as_json:
        print_json(found)
    elif found:
        out().print(_table(found))
    else:
        err().print("no dead letters" if answered_too else "no open dead letters")


def _table(found: Iterable[Mapping[str, Any]]) -> Table:
    made = table("NO", "DIED", "QUEUE", "ACTION", "ROW", "REASON", fold=("REASON",))
    made.columns[-1].min_width = 30
    for letter in found:
        message = letter["message"] if isinstance(letter["message"], dict) else {}
        answer = f"  ({letter['answer']} by {letter['answered_by']})" if letter["answer"] else ""
        known = (letter["dead_letter_id"], f"{letter['died_at']:%m-%d %H:%M}", letter["queue"])
        about = (printable(message.get("action", "?"))[:20], printable(letter["row_id"])[:8])
        made.add_row(*map(cell, (*known, *about, letter["reason"] + answer)))
    return made


def _without_values(letter: dict[str, Any]) -> dict[str, Any]:
    """The letter with the names of environment variables only: people put tokens into their values."""
    message = letter["message"]
    if not isinstance(message, dict) or not isinstance(message.get("env_vars"), dict):
        return letter
    return {**letter, "message": {**message, "env_vars": dict.fromkeys(message["env_vars"], "***")}}


@app.command(epilog="Example: pgfleet dead show 17")
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `pgfleet dead list` shows.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show all of one dead letter."""
    with database() as conn:
        letter = _without_values(letters.one(conn, number))
    if as_json:
        print_json(letter)
        return
    for name, value in letter.items():
        # JSON escapes what others have written into it.
        shown = json.dumps(value, indent=2, default=str) if name in ("message", "headers") else printable(value)
        out().print(f"{name:<15} {shown}", markup=False)


@app.command(epilog="Example: pgfleet dead replay 17 18")
def replay(numbers: Numbers, *, as_json: AsJson = False) -> None:
    """Send a message again; what failed with it, such as a reservation, goes back to its line."""
    with database() as conn:
        for number in numbers:
            done = letters.replay(conn, number, default_user())
            print_result("dead_letter_id", number, done, as_json=as_json)


@app.command(epilog="Example: pgfleet dead discard 17")
def discard(numbers: Numbers, *, as_json: AsJson = False) -> None:
    """Say that nothing needs to be done about a message; it stays on record."""
    with database() as conn:
        for number in numbers:
            letters.discard(conn, number, default_user())
            print_result("dead_letter_id", number, "discarded", as_json=as_json)
