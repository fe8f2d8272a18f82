"""What `pgfleet lines` shows: how lines are ordered, how long they are, and who of one starts when."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.table import Table

from pgfleet.console.pictures.parts import cell, table
from pgfleet.producers.submit.wording import span
from pgfleet.schema.line.plan import Waiting
from pgfleet.schema.line.rules import Rules
from pgfleet.schema.line.unit import Unit
from pgfleet.schema.printable import minute
from pgfleet.schema.reads.place import TOLD, Line


def told(rules: Rules) -> Iterable[str]:
    """The rules, a sentence each."""
    yield f"Fair share is {_switch(rules.fair_share)}: " + (
        "who has had more GPUs in the last 24 hours stands further behind."
        if rules.fair_share
        else "who came first is first."
    )
    yield f"Who has waited for {span(rules.starving_after.total_seconds())} is passed by nobody."
    yield f"Extensions win is {_switch(rules.extensions_win)}: an extension " + (
        "may move a start that was promised; who waits is told." if rules.extensions_win else "moves no promised start."
    )


def _switch(on: bool) -> str:  # noqa: FBT001  # what is shown is its only argument
    return "on" if on else "off"


def lines_table(lines: Mapping[str, Line]) -> Table:
    numbers = ("FREE", "OF", "WAITING", "BOOKED")
    made = table("TYPE", *numbers, "NEXT END", right=numbers)
    for name, line in lines.items():
        ends = "" if line.next_end is None else span((line.next_end - line.now).total_seconds())
        made.add_row(*map(cell, (name, line.free, line.total, line.number, len(line.standing.bookings), ends)))
    return made


def order(line: Line) -> Iterator[dict[str, Any]]:
    """Those that are booked, by their start, and the first in line. `place` counts from 1; a booking has none."""
    standing = line.standing
    for unit in standing.bookings:
        yield _row(unit, line, None)
    for ahead, unit in enumerate(standing.line[:TOLD]):
        yield _row(unit, line, ahead)


def _row(unit: Unit, line: Line, ahead: int | None) -> dict[str, Any]:
    found = line.plan.of(unit.key)
    waits = found if isinstance(found, Waiting) else None
    starts_in_s = waits.starts_in_s if waits else 0 if found else None
    return {
        "reservation_id": unit.key,
        "place": None if ahead is None else ahead + 1,
        "gpus": unit.gpus,
        "nodes": unit.nodes,
        "hours": unit.hours,
        "waiting_since": unit.since,
        "start_at": unit.start_at,
        "starts_at": line.standing.at(starts_in_s),
        "is_promised": bool(waits and waits.is_promised),
        "is_starving": unit.is_starving,
        "reason_code": waits.code if waits else None,
    }


def order_table(seen: Iterable[Mapping[str, Any]], line: Line) -> Table:
    """A line from its front; those that are booked come first."""
    made = table("", "ID", "USER", "WANTS", "HOURS", "WAITS", "STARTS", "WHY", right=("", "HOURS"), fold=("STARTS",))
    for row in seen:
        wants = f"{row['nodes']} nodes of {row['gpus']}" if row["nodes"] > 1 else row["gpus"]
        waits = "" if row["start_at"] else span((line.now - row["waiting_since"]).total_seconds())
        known = (row["place"], row["short_id"], row["user_id"], wants, f"{row['hours']:g}", waits, _starts(row, line))
        made.add_row(*map(cell, (*known, row["reason_code"])))
    return made


def _starts(row: Mapping[str, Any], line: Line) -> str:
    if row["starts_at"] is None:
        return "nobody knows"
    if row["reason_code"] is None:
        return "now"
    at = f"{minute(row['starts_at'])}, in {span((row['starts_at'] - line.now).total_seconds())}"
    return f"{at}, promised" if row["is_promised"] else f"about {at}"
