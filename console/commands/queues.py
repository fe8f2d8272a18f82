"""`pgfleet queues`: what outside is in trouble; how many messages wait, are put off, in hand or dead, by queue."""

from typing import Any

from rich.table import Table

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.pictures.outages import outage_lines, pause_lines
from pgfleet.console.pictures.parts import cell, table
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import span
from pgfleet.schema.brake.pauses import DELETES, paused
from pgfleet.schema.reads import outage
from pgfleet.schema.reads.queue import depths
from pgfleet.schema.rows.row import Row


@example("pgfleet queues --json")
def queues(*, as_json: AsJson = False) -> None:
    """Show how full the queues are, and what they wait for. In hand: claimed by a worker, or put back until later."""
    with database() as conn:
        found, outages, pauses = depths(conn), outage.recent(conn), paused(conn)
    if as_json:
        print_json([_as_json(row, outages, pauses) for row in found])
    else:
        out().print(*pause_lines(pauses), *outage_lines(outages), depth_table(found), sep="\n")


def _as_json(row: Row, outages: list[Row], pauses: list[Row]) -> dict[str, Any]:
    """With what is in trouble outside, and what is paused: the queue itself, and deletions, which any may wait for."""
    return {
        **row,
        "outages": [one for one in outages if one["queue"] == row["queue"]],
        "paused": next((one for one in pauses if one["what"] == row["queue"]), None),
        "deletes_paused": next((one for one in pauses if one["what"] == DELETES), None),
    }


def depth_table(found: list[Row]) -> Table:
    numbers = ("READY", "DELAYED", "IN HAND", "OLDEST READY", "REJECTED", "FAILED")
    made = table("QUEUE", *numbers, right=numbers)
    for row in found:
        oldest = "" if row["oldest_ready_s"] is None else span(row["oldest_ready_s"])
        cells = (row["queue"], row["ready"], row["delayed"], row["in_hand"], oldest, row["rejected"] or "")
        made.add_row(*map(cell, cells), cell(row["failed"], "red" if row["failed"] else ""))
    return made
