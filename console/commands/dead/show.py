"""`pgfleet dead`: messages that could not be handled: listed, counted by reason, shown."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from pgfleet.console.commands.dead import answers
from pgfleet.console.commands.dead.filters import Kind, Reason, RowId, Verdict, filters_of
from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.parts import cell, table
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.container import without_secrets
from pgfleet.schema.printable import printable
from pgfleet.schema.replay import letters

app = typer.Typer(cls=ListsByDefault, add_completion=False)
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")]
Answered = Annotated[bool, typer.Option("--answered", help="Answered ones, too.")]


@app.callback(epilog="Example: pgfleet dead --kind reservation")
def dead() -> None:
    """Messages that could not be handled: list, count, show, replay, discard. Without a command: `ls`.

    A rejection is its sender's mistake, who is told; a failure is ours.
    """


@app.command("ls", epilog="Example: pgfleet dead ls --kind disk --verdict failure --reason throttled")
def list_letters(  # noqa: PLR0913  # one parameter an option
    *,
    kind: Kind = None,
    verdict: Verdict = None,
    reason: Reason = None,
    row: RowId = None,
    answered_too: Answered = False,
    most: Limit = 200,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first."""
    filters = filters_of(kind, verdict, reason, row, answered_too=answered_too)
    with database() as conn:
        found = [_without_secrets(letter) for letter in letters.listing(conn, filters, most)]
        more = letters.count(conn, filters) - len(found) if len(found) == most else 0
    if as_json:
        print_json(found)
    elif found:
        out().print(letter_table(found))
    else:
        err().print("no dead letters" if answered_too else "no open dead letters")
    if more > 0:
        err().print(f"and {more} more: --limit shows more of them, `pgfleet dead reasons` what they died of")


def letter_table(found: Iterable[Mapping[str, Any]]) -> Table:
    made = table("NO", "DIED", "VERDICT", "QUEUE", "ACTION", "ROW", "REASON", fold=("REASON",))
    made.columns[-1].min_width = 30
    for letter in found:
        message = letter["message"] if isinstance(letter["message"], dict) else {}
        answer = f"  ({letter['answer']} by {letter['answered_by']})" if letter["answer"] else ""
        known = (letter["dead_letter_id"], f"{letter['died_at']:%m-%d %H:%M}", letter["verdict"], letter["queue"])
        about = (printable(message.get("action", "?"))[:20], printable(letter["row_id"])[:8])
        made.add_row(*map(cell, (*known, *about, letter["reason"] + answer)))
    return made


@app.command("reasons", epilog="Example: pgfleet dead reasons --verdict failure")
def reasons(  # noqa: PLR0913  # one parameter an option
    *,
    kind: Kind = None,
    verdict: Verdict = None,
    reason: Reason = None,
    answered_too: Answered = False,
    most: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Count dead letters by their reason, the most first; numbers and ids in reasons are `#`."""
    filters = filters_of(kind, verdict, reason, None, answered_too=answered_too)
    with database() as conn:
        found = letters.reasons(conn, filters, most)
    if as_json:
        print_json(found)
        return
    made = table("NUMBER", "NEWEST", "VERDICT", "QUEUE", "REASON", right=("NUMBER",), fold=("REASON",))
    for row in found:
        known = (row["number"], f"{row['newest']:%m-%d %H:%M}", row["verdict"], row["queue"], row["reason"])
        made.add_row(*map(cell, known))
    out().print(made)


def _without_secrets(letter: dict[str, Any]) -> dict[str, Any]:
    return {**letter, "message": without_secrets(letter["message"])}


@app.command(epilog="Example: pgfleet dead show 17")
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", max=2**63 - 1, help="As `pgfleet dead` shows.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show all of one dead letter."""
    with database() as conn:
        letter = _without_secrets(letters.one(conn, number))
    if as_json:
        print_json(letter)
        return
    for name, value in letter.items():
        # JSON escapes what others have written into it.
        shown = json.dumps(value, indent=2, default=str) if name in ("message", "headers") else printable(value)
        out().print(f"{name:<15} {shown}")


app.command("list", hidden=True)(list_letters)
app.command("replay", epilog="Example: pgfleet dead replay --all --kind disk --reason throttled")(answers.replay)
app.command("discard", epilog="Example: pgfleet dead discard 17 18")(answers.discard)
