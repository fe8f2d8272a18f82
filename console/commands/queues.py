"""`pgfleet queues`: how many messages wait, are put off, in hand or dead, queue by queue."""

from rich.table import Table

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.pictures.parts import cell, table
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import span
from pgfleet.schema.reads.queue import depths
from pgfleet.schema.rows.row import Row


@example("pgfleet queues --json")
def queues(*, as_json: AsJson = False) -> None:
    """Show how full the queues are. In hand: a worker has claimed it, or put it back until later."""
    with database() as conn:
        found = depths(conn)
    if as_json:
        print_json(found)
    else:
        out().print(depth_table(found))


def depth_table(found: list[Row]) -> Table:
    numbers = ("READY", "DELAYED", "IN HAND", "OLDEST READY", "DEAD")
    made = table("QUEUE", *numbers, right=numbers)
    for row in found:
        oldest = "" if row["oldest_ready_s"] is None else span(row["oldest_ready_s"])
        cells = (row["queue"], row["ready"], row["delayed"], row["in_hand"], oldest)
        made.add_row(*map(cell, cells), cell(row["dead"], "red" if row["dead"] else ""))
    return made
