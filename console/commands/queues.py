"""`pgfleet queues`: how many messages wait, are put off, in hand or dead, queue by queue."""

from typing import Annotated

import typer
from rich.table import Table

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import span
from pgfleet.schema.reads.queue import depths
from pgfleet.schema.rows.row import Row


@example("pgfleet queues --json")
def queues(*, as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """Show how full the queues are. In hand: a worker has claimed it, or put it back until later."""
    with database() as conn:
        found = depths(conn)
    if as_json:
        print_json(found)
    else:
        out().print(depth_table(found))


def depth_table(found: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("QUEUE")
    for heading in ("READY", "DELAYED", "IN HAND", "OLDEST READY", "DEAD"):
        table.add_column(heading, justify="right")
    for row in found:
        oldest = "" if row["oldest_ready_s"] is None else span(row["oldest_ready_s"])
        dead = f"[red]{row['dead']}[/]" if row["dead"] else "0"
        numbers = (str(row[name]) for name in ("ready", "delayed", "in_hand"))
        table.add_row(row["queue"], *numbers, oldest, dead)
    return table
