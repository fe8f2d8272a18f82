"""`pgfleet nodes cordon` and `uncordon`: an operator lets nobody start on a node of the cluster until a time."""

import re
from datetime import datetime, timedelta
from typing import Annotated

import typer

from pgfleet.console.connection import database
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.brake import cordons
from pgfleet.schema.errors import FleetError, Refusal
from pgfleet.schema.printable import plural, printable
from pgfleet.schema.reads import about

Node = Annotated[str, typer.Argument(metavar="NODE", help="A node of the cluster that reservations run on.")]
LONGEST = timedelta(days=90)
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def cordon(
    node: Node,
    *,
    until: Annotated[str, typer.Option(metavar="TIME", help="18:00, 2027-01-31T18:00, or from now: 90m, 4h, 2d.")],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for those who are on it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let no reservation start on a node of the cluster until a time. For operators.

    Those that are on it go on, and are told. The scheduler of the cluster is not asked: pods of others still go there
    unless `kubectl cordon` keeps them away.
    """
    with database() as conn:
        row = cordons.cordon(conn, node, _moment(until, about.now(conn)), default_user(), reason)
    if as_json:
        print_json(row)
        return
    told = plural(len(row["reservation_ids"]), "reservation")
    until_then = f"{row['until'].astimezone():%Y-%m-%d %H:%M %Z}"
    out().print(f"{printable(node)} cordoned until {until_then}; on it: {told}")


def uncordon(node: Node, *, as_json: AsJson = False) -> None:
    """Let reservations start on a node again."""
    with database() as conn:
        result = "takes reservations again" if cordons.uncordon(conn, node) else "was not cordoned"
    if as_json:
        print_json({"node_name": node, "result": result})
    else:
        out().print(printable(f"{node} {result}"))


def _moment(text: str, now: datetime) -> datetime:
    """A time of the clock on the wall here, the next one where no day is given; or so long from now.

    Raises:
        FleetError: it is no time.
        Refusal: it is over, or too far ahead.
    """
    found = _from_now(text, now) or _at_clock(text, now) or _at_date(text)
    if found is None:
        raise FleetError(
            f"--until {printable(text)} is no time. Write 18:00, 2027-01-31T18:00, or from now: 90m, 4h, 2d."
        )
    if found > now + LONGEST:
        raise Refusal(f"--until {text} is more than {LONGEST.days} days from now.")
    if found <= now:
        raise Refusal(f"--until {text} is over: it is {now.astimezone():%Y-%m-%d %H:%M %Z}.")
    return found


def _from_now(text: str, now: datetime) -> datetime | None:
    found = re.fullmatch(r"(\d{1,5})([mhd])", text.strip())
    return now + timedelta(**{UNITS[found[2]]: int(found[1])}) if found else None


def _at_clock(text: str, now: datetime) -> datetime | None:
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text.strip())
    if found is None:
        return None
    today = now.astimezone().replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def _at_date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        return None
