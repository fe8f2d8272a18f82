"""`pgfleet ls` and `pgfleet types`: what is reserved, and what there is to reserve."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.table import Table

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import gpus, span, story
from pgfleet.schema.printable import printable
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
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
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
    table = Table(box=None, pad_edge=False, header_style="bold")
    with_disks = any(row["disk_name"] for row in rows)
    for heading in ("ID", "USER", "NAME", "GPUS", *(("DISK",) if with_disks else ()), "STATUS"):
        table.add_column(heading, no_wrap=True)
    table.add_column("")
    for row in rows:
        line = lines.get(row["gpu_type"])
        told = story(row, place(row, line, grace), line.now if line else row["status_since"])
        style = STYLES.get(row["status"], "")
        disk = (printable(row["disk_name"]),) if with_disks else ()
        cells = (row["reservation_id"][:8], row["user_id"], row["name"] or "", gpus(row), *disk)
        table.add_row(*map(_plain, cells), f"[{style}]{row['status']}[/]", _plain(told))
    return table


STYLES = {
    "pending": "yellow",
    "queued": "yellow",
    "preparing": "cyan",
    "active": "green",
    "expired": "dim",
    "cancelled": "dim",
    "failed": "red",
}


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


@example("pgfleet types --json")
def types(*, as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
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
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("TYPE")
    for heading in ("GPUS", "FREE", "PER NODE", "WAITING"):
        table.add_column(heading, justify="right")
    table.add_column("NEXT END")
    for name, row in known.items():
        line = lines[name]
        ends = [max((release.expires_at - line.now).total_seconds(), 0) for release in line.releases]
        table.add_row(
            name if line.is_active else f"{name} (off)",
            str(line.total) if row["max_gpus"] else "-",
            str(line.free) if row["max_gpus"] else "-",
            str(row["max_per_node"] or "-"),
            str(len(line.waiting)),
            span(min(ends)) if ends else "",
        )
    return table
