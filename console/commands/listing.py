"""`pgfleet ls` and `pgfleet types`: what is reserved, and what there is to reserve."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.table import Table

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.console.pictures.parts import cell, styled, table
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import gpus, span, story
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.place import Line, place
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import read_settings


@example("pgfleet ls --gpu-type h100 --status queued")
def reservations(  # noqa: PLR0913  # one parameter an option
    *,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    status: Annotated[str | None, typer.Option(help="Only these: pending, queued, ... or running.")] = None,
    gpu_type: Annotated[str | None, typer.Option(help="Only of this type.")] = None,
    ended_too: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    most: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 200,
    as_json: AsJson = False,
) -> None:
    """List reservations, newest first; live ones unless --all or --status."""
    grace = timedelta(seconds=read_settings().expiry_grace_s)
    with database() as conn:
        rows = reads.listing(conn, reads.Filters(user, status, gpu_type, ended_too, most))
        lines = reads.lines(conn, [row["gpu_type"] for row in rows if row["gpu_type"]])
    if as_json:
        print_json([_as_json(row, lines, grace) for row in rows])
    elif rows:
        out().print(reservation_table(rows, lines, grace))
    else:
        err().print("none" if ended_too else "none that is live; --all lists the others too")


def _as_json(row: dict[str, Any], lines: dict[str, Line], grace: timedelta) -> dict[str, Any]:
    where = place(row, lines.get(row["gpu_type"]), grace)
    return {**row, **(where.as_json() if where else {})}


def reservation_table(rows: list[Row], lines: dict[str, Line], grace: timedelta) -> Table:
    with_disks = any(row["disk_name"] for row in rows)
    made = table("ID", "USER", "NAME", "GPUS", *(("DISK",) if with_disks else ()), "STATUS", "", fold=("",))
    for row in rows:
        line = lines.get(row["gpu_type"])
        why = story(row, place(row, line, grace), line.now if line else row["status_since"])
        disk = (row["disk_name"],) if with_disks else ()
        known = (row["reservation_id"][:8], row["user_id"], row["name"], gpus(row), *disk)
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


@example("pgfleet types --json")
def types(*, as_json: AsJson = False) -> None:
    """List GPU types: how many there are, how many are free, and how many wait."""
    grace = timedelta(seconds=read_settings().expiry_grace_s)
    with database() as conn:
        known = reads.types(conn)
        lines = reads.lines(conn, known)
    if as_json:
        print_json([_type_as_json(row, lines[name], grace) for name, row in known.items()])
    else:
        out().print(type_table(known, lines))


def _type_as_json(row: dict[str, Any], line: Line, grace: timedelta) -> dict[str, Any]:
    next_free = min((release.expires_at for release in line.releases), default=None)
    return {
        **row,
        "free_gpus": line.free,
        "waiting": len(line.waiting),
        "next_free_at": None if next_free is None else next_free + grace,
    }


def type_table(known: Mapping[str, Mapping[str, Any]], lines: dict[str, Line]) -> Table:
    numbers = ("GPUS", "FREE", "PER NODE", "WAITING")
    made = table("TYPE", *numbers, "NEXT END", right=numbers)
    for name, row in known.items():
        line = lines[name]
        ends = [max((release.expires_at - line.now).total_seconds(), 0) for release in line.releases]
        gpus_of = (line.total, line.free) if row["max_gpus"] else ("-", "-")
        cells = (name if line.is_active else f"{name} (off)", *gpus_of, row["max_per_node"] or "-", len(line.waiting))
        made.add_row(*map(cell, cells), cell(span(min(ends)) if ends else ""))
    return made
