"""`pgfleet nodes pools`: the instance pools of the autoscaler's nodes, and their limits. For operators."""

from typing import Annotated, Any

import typer
from rich.table import Table

from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.fleet import status
from pgfleet.console.pictures.parts import cell, table
from pgfleet.console.showing import print_result
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.nodes import listing, writes
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.row import Row

app = typer.Typer(cls=ListsByDefault, add_completion=False)
OfNode = Annotated[int | None, typer.Argument(metavar="NODE", help="Of this node alone: its number.", min=1)]
Most = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")]
Pool = Annotated[str, typer.Argument(metavar="POOL", help="Its number, or the id that its cloud gave it.")]
BIGGEST = 2**63


@app.callback(epilog="Example: pgfleet nodes pools ls 17")
def pools() -> None:
    """Instance pools and their limits. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet nodes pools ls 17")
def list_pools(node: OfNode = None, *, most: Most = 200, as_json: AsJson = False) -> None:
    """List pools: how many instances they have, may have, and shall have now."""
    with database() as conn:
        found = listing.pools(conn, node, most=most)
    if as_json:
        print_json(found)
    else:
        out().print(_picture(found) if found else "no pools: they come with the heartbeats of their nodes")


@app.command("set", epilog="Example: pgfleet nodes pools set 3 --min 1 --max 8", no_args_is_help=True)
def set_pool(  # noqa: PLR0913  # one parameter an option
    pool: Pool,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What people call it.")] = None,
    least: Annotated[int | None, typer.Option("--min", metavar="N", help="At least so many instances.")] = None,
    most: Annotated[int | None, typer.Option("--max", metavar="N", help="At most so many instances.")] = None,
    active: Annotated[
        bool | None, typer.Option("--on/--off", help="Whether it counts; off stays off, whatever its node reports.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a pool's name or limits, or switch it off. A configuration that is made active later sets limits anew."""
    given = {"name": name, "min_instances": least, "max_instances": most, "is_active": active}
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise FleetError("Say what to change: --name, --min, --max, --on or --off.")
    with database() as conn:
        row = writes.change_pool(conn, _number(conn, pool), changes)
    print_result("id", row["id"], _said(row), as_json=as_json)


def _number(conn: Connection, pool: str) -> int:
    """A number that is no pool's is told by the database."""
    if pool.isascii() and pool.isdigit() and int(pool) < BIGGEST:
        return int(pool)
    number = listing.pool_number(conn, pool)
    if number is None:
        raise Refusal(f"There is no pool {printable(pool)}. See `pgfleet nodes pools`.")
    return number


def _said(row: dict[str, Any]) -> str:
    on = "on" if row["is_active"] else "off"
    return f"{row['name']}: {row['min_instances']} to {row['max_instances']} instances, {on}"


def _picture(found: list[Row]) -> Table:
    numbers = ("ID", "NODE", "INSTANCES", "ACTIVE", "MIN", "MAX", "TARGET")
    headings = ("ID", "NODE", "POOL", "NAME", "STATUS", "INSTANCES", "ACTIVE", "MIN", "MAX", "TARGET")
    made = table(*headings, right=numbers, fold=("POOL", "NAME"))
    for row in found:
        shown = status(row["status"]) if row["is_active"] else cell("off", "dim")
        counted = ("current_instances", "active_instances", "min_instances", "max_instances", "target_instances")
        known = (cell(row["id"]), cell(row["node_id"]), cell(row["oracle_pool_id"]), cell(row["name"]), shown)
        made.add_row(*known, *(cell(row[name]) for name in counted))
    return made
