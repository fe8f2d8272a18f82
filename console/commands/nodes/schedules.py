"""`pgfleet nodes schedules`: how many instances a node's pools shall have at what time of the day. For operators."""

from typing import Annotated

import typer
from rich.table import Table

from pgfleet.console.commands.nodes.pools import Most, OfNode
from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.parts import cell, table
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.schema.errors import FleetError
from pgfleet.schema.nodes import listing, writes
from pgfleet.schema.rows.row import Row

app = typer.Typer(cls=ListsByDefault, add_completion=False)
MOST = 2**31 - 1
Schedule = Annotated[int, typer.Argument(metavar="ID", help="As `schedules ls` lists it.", min=1, max=MOST)]
WHEN = "HH:MM, in UTC."
ALL_DAY = "An end before the start is on the next day; the same time is all day."


@app.callback(epilog="Example: pgfleet nodes schedules ls 17")
def schedules() -> None:
    """Schedules of the autoscaler's nodes. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet nodes schedules ls 17")
def list_schedules(node: OfNode = None, *, most: Most = 200, as_json: AsJson = False) -> None:
    """List schedules; of several at once the largest counts."""
    with database() as conn:
        found = listing.schedules(conn, node, most=most)
    if as_json:
        print_json(found)
    else:
        out().print(_picture(found) if found else "no schedules: pgfleet nodes schedules add makes one")


@app.command(
    "add",
    epilog="Example: pgfleet nodes schedules add 17 nights --from 20:00 --to 06:00 --instances 2",
    no_args_is_help=True,
)
def add(  # noqa: PLR0913  # one parameter an option
    node: Annotated[int, typer.Argument(metavar="NODE", help="Its number.", min=1, max=MOST)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    *,
    start: Annotated[str, typer.Option("--from", metavar="HH:MM", help=WHEN)],
    end: Annotated[str, typer.Option("--to", metavar="HH:MM", help=f"{WHEN} {ALL_DAY}")],
    instances: Annotated[int, typer.Option(metavar="N", help="So many, within each pool's limits.")],
    as_json: AsJson = False,
) -> None:
    """Make a schedule for the pools of a node."""
    fields = {"name": name, "start_time": start, "end_time": end, "target_instances": instances}
    with database() as conn:
        row = writes.add_schedule(conn, node, fields)
    print_result("id", row["id"], "is made", as_json=as_json)


@app.command("set", epilog="Example: pgfleet nodes schedules set 4 --instances 3", no_args_is_help=True)
def set_schedule(  # noqa: PLR0913  # one parameter an option
    schedule: Schedule,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What people call it.")] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="HH:MM", help=WHEN)] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="HH:MM", help=WHEN)] = None,
    instances: Annotated[int | None, typer.Option(metavar="N", help="So many, within each pool's limits.")] = None,
    active: Annotated[bool | None, typer.Option("--on/--off", help="Whether it counts.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change a schedule, or switch it off."""
    given = {"name": name, "start_time": start, "end_time": end, "target_instances": instances, "is_active": active}
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise FleetError("Say what to change: --name, --from, --to, --instances, --on or --off.")
    with database() as conn:
        writes.change_schedule(conn, schedule, changes)
    print_result("id", schedule, "is changed", as_json=as_json)


@app.command("remove", epilog="Example: pgfleet nodes schedules remove 4")
def remove(schedule: Schedule, *, as_json: AsJson = False) -> None:
    """Delete a schedule."""
    with database() as conn:
        writes.remove_schedule(conn, schedule)
    print_result("id", schedule, "is removed", as_json=as_json)


def _picture(found: list[Row]) -> Table:
    numbers = ("ID", "NODE", "INSTANCES")
    made = table("ID", "NODE", "NAME", "FROM", "TO", "INSTANCES", "", right=numbers, fold=("NAME",))
    for row in found:
        off = cell("" if row["is_active"] else "off", "dim")
        names = ("id", "node_id", "name", "start_time", "end_time", "target_instances")
        made.add_row(*(cell(row[name]) for name in names), off)
    return made
