"""`pgfleet deliveries`: what subscribers were sent lately, and from where on it is sent again."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from pgfleet.console.commands.events.subscriptions import SHORT
from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.pictures.parts import cell, table
from pgfleet.console.showing import print_result
from pgfleet.producers import event as producer
from pgfleet.producers.submit.commands import AsJson, User
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import minute
from pgfleet.schema.reads.event import delivery
from pgfleet.schema.reads.event.subscription import resolve
from pgfleet.schema.rows.row import Row

STYLES = {"failing": "yellow", "given up": "red", "passed over": "dim", "stopped": "dim"}
SENT = "send again sent"
Given = Annotated[
    str | None, typer.Argument(metavar="SUBSCRIPTION", help="Its id, or the beginning of it; all, unless given.")
]
Again = Annotated[
    int | None, typer.Option("--again", metavar="NUMBER", help="Send this delivery again, and all that came after it.")
]
Most = Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")]


@example("pgfleet deliveries 3f2a9c1e")
def deliveries(
    given: Given = None, *, again: Again = None, most: Most = 50, user: User = None, as_json: AsJson = False
) -> None:
    """Show the last deliveries, the newest first: how often each was tried, what was answered, when it is tried again.

    The last hundred of each subscription are kept. What was given up after a day is a dead letter by its number, which
    an operator can replay; `--again` has it sent by yourself.
    """
    owner = user or default_user()
    with database() as conn:
        row_id = None if given is None else resolve(conn, given, owner)["subscription_id"]
        if again is None:
            print_deliveries(delivery.listing(conn, owner, row_id, most), as_json=as_json)
            return
        which = must_be_of_one(row_id)
        found = delivery.by_number(conn, which, again)
        producer.send_again(which, owner, after_of(found, again), conn)
    print_result("subscription_id", which, SENT, as_json=as_json)


def must_be_of_one(row_id: str | None) -> str:
    """Raises Refusal: it is not said of which subscription."""
    if row_id is None:
        raise Refusal("Of which subscription? pgfleet deliveries SUBSCRIPTION --again NUMBER")
    return row_id


def after_of(found: Row | None, number: int) -> str:
    """Where a delivery begins. Raises Refusal: it is not kept."""
    if found is None:
        raise Refusal(f"Delivery {number} is not kept. From a position: pgfleet subscriptions again ID POSITION")
    return str(found["after"])


def print_deliveries(known: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        print_json(known)
    elif known:
        out().print(_table(known))
    else:
        err().print("nothing was delivered yet")


def _table(known: Sequence[Row]) -> Table:
    numbers = ("NUMBER", "EVENTS", "TRIES")
    made = table("SUBSCRIPTION", *numbers, "SINCE", "RESULT", "ANSWER", "NEXT", right=numbers, fold=("ANSWER",))
    for row in known:
        following = minute(row["next_try_at"]) if row["next_try_at"] else _letter(row)
        counted = (row["number"], row["events"], row["tries"])
        shown = (
            row["subscription_id"][:SHORT],
            *counted,
            minute(row["begun_at"]),
            row["result"],
            row["answer"],
            following,
        )
        made.add_row(*(cell(text, STYLES.get(row["result"], "")) for text in shown))
    return made


def _letter(row: Row) -> str:
    return f"dead letter {row['dead_letter_id']}" if row["dead_letter_id"] else ""
