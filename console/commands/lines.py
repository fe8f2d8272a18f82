"""`pgfleet lines`: who waits for GPUs, in which order, and who starts when; how lines are ordered, by operators."""

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from pgfleet.console.commands.types import known_type
from pgfleet.console.connection import database
from pgfleet.console.groups import ListsByDefault
from pgfleet.console.pictures.lines import lines_table, order, order_table, told
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import FleetError
from pgfleet.schema.line.rules import Rules, rules, set_rules
from pgfleet.schema.printable import printable
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads import reservation as reads
from pgfleet.schema.reads.place import TOLD
from pgfleet.schema.rows.core import fetch
from pgfleet.schema.settings import read_settings
from pgfleet.schema.tables.reservations import reservations

_c = reservations.c
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
app = typer.Typer(cls=ListsByDefault, add_completion=False)


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


@app.callback(epilog="Example: pgfleet lines show h100")
def lines() -> None:
    """Who waits for GPUs, in which order, and who starts when. Without a command: `ls`."""


@app.command("ls", epilog="Example: pgfleet lines ls --json")
def list_lines(*, as_json: AsJson = False) -> None:
    """Show how lines are ordered, and how many wait in each."""
    with database() as conn:
        set_so = rules(conn)
        known = reads.lines(conn, reads.types(conn), _grace(), TOLD)
    if as_json:
        print_json({"settings": _as_json(set_so), "lines": [line.as_json() for line in known.values()]})
        return
    for sentence in told(set_so):
        out().print(sentence)
    out().print()
    out().print(lines_table(known))


def _grace() -> timedelta:
    return timedelta(seconds=read_settings().expiry_grace_s)


def _as_json(set_so: Rules) -> dict[str, object]:
    return {
        "fair_share": set_so.fair_share,
        "starving_after_hours": set_so.starving_after.total_seconds() / 3600,
        "extensions_win": set_so.extensions_win,
    }


@app.command("show", epilog="Example: pgfleet lines show h100", no_args_is_help=True)
def show(
    given: Annotated[str, typer.Argument(metavar="TYPE", help="Such as h100.")], *, as_json: AsJson = False
) -> None:
    """Show one line: those that are booked, and the first 50 in their order, with when they start.

    Those that are paused, or kept by a disk, are not in it: others pass them. Users are shown to who may see them.
    """
    with database() as conn:
        name = known_type(conn, given)["gpu_type"]
        line = reads.lines(conn, [name], _grace(), TOLD)[name]
        seen = _with_users(conn, [*order(line)])
    if as_json:
        print_json(seen)
    elif seen:
        out().print(order_table(seen, line))
    else:
        err().print(f"Nobody waits for {name}.")


def _with_users(conn: Connection, seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With whose they are, and their short ids, as far as this login may see that."""
    ids = [row["reservation_id"] for row in seen]
    short = sa.func.public.short_reservation_id(_c.reservation_id).label("short_id")
    rows = fetch(conn, sa.select(_c.reservation_id, _c.user_id, short).where(_c.reservation_id.in_(ids)))
    known: dict[str, Any] = {row["reservation_id"]: row for row in rows}
    return [
        {"short_id": each[:8], "user_id": None, **row, **known.get(each, {})}
        for each, row in zip(ids, seen, strict=True)
    ]


@app.command("set", epilog="Example: pgfleet lines set --fair-share on --starving-after 24h", no_args_is_help=True)
def set_lines(
    *,
    fair_share: Annotated[
        Switch | None, typer.Option(help="Whether who has had more GPUs in the last 24 hours stands further behind.")
    ] = None,
    starving_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Who has waited for so long is passed by nobody: 90m, 24h, 2d.")
    ] = None,
    extensions_win: Annotated[
        Switch | None, typer.Option(help="Whether an extension may move a start that was promised.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how lines are ordered. For operators; all lines are looked at by it at once."""
    given = {
        "fair_share": _on(fair_share),
        "starving_after": None if starving_after is None else _length(starving_after),
        "extensions_win": _on(extensions_win),
    }
    if all(value is None for value in given.values()):
        raise FleetError("Give --fair-share, --starving-after or --extensions-win.")
    with database() as conn:
        set_so = set_rules(conn, given, default_user())
    if as_json:
        print_json(_as_json(set_so))
        return
    for sentence in told(set_so):
        out().print(sentence)


def _on(given: Switch | None) -> bool | None:
    return None if given is None else given == Switch.ON


def _length(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([mhd])", text.strip())
    if found is None or int(found[1]) == 0:
        raise FleetError(f"--starving-after {printable(text)} is no length of time. Write 90m, 24h or 2d.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
