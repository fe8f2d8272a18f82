"""`pgfleet ls`: what is reserved."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.table import Table

from pgfleet.console.commands.types import known_type
from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.pictures.parts import cell, styled, table
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import default_user, gpus, story
from pgfleet.schema.errors import FleetError
from pgfleet.schema.printable import printable
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.place import Line, place
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import read_settings


@example("pgfleet ls --gpu-type h100 --status queued")
def reservations(  # noqa: PLR0913  # one parameter an option
    *,
    user: Annotated[str | None, typer.Option(help="Whose, unless $PGFLEET_USER's or yours.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only yours, also with --all.")] = False,
    everybody: Annotated[bool, typer.Option("--everybody", help="Everybody's.")] = False,
    status: Annotated[str | None, typer.Option(help="Only these: pending, queued, ... or running.")] = None,
    gpu_type: Annotated[str | None, typer.Option(help="Only of this type.")] = None,
    ended_too: Annotated[
        bool, typer.Option("--all", help="Those that are over, too; and everybody's, unless --mine or --user.")
    ] = False,
    most: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 200,
    as_json: AsJson = False,
) -> None:
    """List your reservations, newest first; live ones unless --all or --status."""
    grace = timedelta(seconds=read_settings().expiry_grace_s)
    if mine and (everybody or user is not None):
        raise FleetError("--mine, --everybody and --user: give one of them.")
    whose = None if everybody or (ended_too and user is None and not mine) else user or default_user()
    with database() as conn:
        of_type = None if gpu_type is None else known_type(conn, gpu_type)["gpu_type"]
        rows = reads.listing(conn, reads.Filters(whose, status, of_type, ended_too, most))
        lines = reads.lines(conn, [row["gpu_type"] for row in rows if row["gpu_type"]], grace)
    if as_json:
        print_json([_as_json(row, lines) for row in rows])
    elif rows:
        out().print(reservation_table(rows, lines))
    else:
        err().print(none_of(whose, ended_too=ended_too))


def none_of(whose: str | None, *, ended_too: bool) -> str:
    """What is said of an empty list."""
    of = "" if whose is None else f" of {printable(whose)}"
    if ended_too:
        return f"none{of}"
    others = "" if whose is None else "--everybody lists those of others, "
    return f"none{of} that is live; {others}--all those that are over too"


def _as_json(row: dict[str, Any], lines: dict[str, Line]) -> dict[str, Any]:
    where = place(row, lines.get(row["gpu_type"]))
    return {**row, **(where.as_json() if where else {})}


def reservation_table(rows: list[Row], lines: dict[str, Line]) -> Table:
    return table_of((row, _why(row, lines.get(row["gpu_type"]))) for row in rows)


def _why(row: Row, line: Line | None) -> str:
    return story(row, place(row, line), line.now if line else row["status_since"])


def table_of(described: Iterable[tuple[Row, str]]) -> Table:
    """Reservations, each with what is said of it."""
    rows = list(described)
    with_disks = any(row["disk_name"] for row, _ in rows)
    made = table("ID", "USER", "NAME", "GPUS", *(("DISK",) if with_disks else ()), "STATUS", "", fold=("",))
    for row, why in rows:
        disk = (row["disk_name"],) if with_disks else ()
        known = (row["short_id"], row["user_id"], row["name"], gpus(row), *disk)
        made.add_row(*map(cell, known), styled(row["status"], STYLES), cell(why))
    return made


STYLES = {
    "pending": "yellow",
    "queued": "yellow",
    "preparing": "cyan",
    "active": "green",
    "expired": "dim",
    "cancelled": "dim",
    "failed": "red",
}
