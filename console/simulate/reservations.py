"""`pgfleet simulate reservations`: what waits would have been with another fleet, for who came in the last days."""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pgfleet.console.connection import database
from pgfleet.console.pictures.parts import cell, table
from pgfleet.console.simulate.line.engine import Fleet
from pgfleet.console.simulate.line.fleets import changed, types_named
from pgfleet.console.simulate.line.outcome import Outcome, Waits, as_it_was, simulated
from pgfleet.console.simulate.line.past import History, histories
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import minute
from pgfleet.schema.settings import read_settings

NUMBERS = ("N", "P50", "P95", "MAX", "WITHOUT")
EXAMPLE = "Example: pgfleet simulate reservations --gpus h100=+16"


class Source(StrEnum):
    """Whose reservations are simulated."""

    HISTORY = "history"  # those of the database


def reservations(
    *,
    source: Annotated[  # noqa: ARG001  # there is one so far
        Source, typer.Option("--from", help="Whose reservations: those of the database.")
    ] = Source.HISTORY,
    days: Annotated[float, typer.Option(min=1, max=366, help="Those of so many days.")] = 14,
    gpus: Annotated[
        list[str] | None, typer.Option(metavar="TYPE=+N", help="With so many GPUs more, or less (-N), or in all (N).")
    ] = None,
    nodes: Annotated[
        list[str] | None, typer.Option(metavar="TYPE=CxN", help="With C nodes of N GPUs each, and no others.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits would have been with other GPUs, beside what they were: who waits how long, by size.

    The same reservations come at the same time and have their GPUs for as long as they had. The line is planned as
    workers plan it, in the order of coming; disks, outages and nodes that failed are not simulated.
    """
    known = _known(gpus or [], nodes or [], timedelta(days=days))
    fleets = changed(known, gpus or [], nodes or [])
    told = {name: _compared(history, fleets.get(name)) for name, history in known.items()}
    if as_json:
        print_json({name: _as_json(known[name], each) for name, each in told.items()})
    else:
        out().print(Group(*_pictures(known, told)))


def _known(gpus: list[str], nodes: list[str], span: timedelta) -> dict[str, History]:
    """The types that are named, or all of which enough is known.

    Raises:
        Refusal: too little is known.
    """
    named = types_named([*gpus, *nodes])
    with database() as conn:
        found = histories(conn, named, span, timedelta(seconds=read_settings().expiry_grace_s))
    long_enough = {name: history for name, history in found.items() if history.problem is None}
    problems = [history.problem for history in found.values() if history.problem is not None]
    if problems and (named or not long_enough):
        raise Refusal("\n".join(problems))
    return long_enough if not named else found


def _compared(history: History, fleet: Fleet | None) -> dict[str, Outcome]:
    """By what each is called."""
    found = {"as it was": as_it_was(history), "simulated as it is": simulated(history, history.fleet)}
    return found if fleet is None else {**found, f"with {fleet.total} GPUs": simulated(history, fleet)}


def _as_json(history: History, told: dict[str, Outcome]) -> dict[str, Any]:
    was, same, *more = told.values()
    other = more[0].as_json() if more else None
    return {
        "since": history.since,
        "until": history.now,
        "was": was.as_json(),
        "simulated": same.as_json(),
        "changed": other,
        "notes": _notes(history),
    }


def _notes(history: History) -> list[str]:
    """What the simulation leaves out that matters here."""
    notes = []
    if not history.fleet.nodes:
        notes.append(
            "Its nodes were not seen lately: totals alone count, and a large one fits more easily than it would."
        )
    if history.is_fair_share:
        notes.append("Fair share is on, and is not simulated: the order is that of coming.")
    return notes


def _pictures(known: dict[str, History], told: dict[str, dict[str, Outcome]]) -> Iterator[Text | Table]:
    for number, (name, outcomes) in enumerate(told.items()):
        history = known[name]
        if number:
            yield Text()
        yield Text.assemble(cell(name, "bold"), f", {minute(history.since)} to {minute(history.now)}")
        yield from (cell(f"  {called:<20}{_used(outcome)}") for called, outcome in outcomes.items())
        yield from (cell(note, "yellow") for note in _notes(history))
        yield Text()
        yield _wait_table(outcomes)


def _used(outcome: Outcome) -> str:
    return f"{outcome.total} GPUs, {outcome.used:.1%} of them used"


def _wait_table(outcomes: dict[str, Outcome]) -> Table:
    made = table("GPUS", "", *NUMBERS, right=NUMBERS)
    for size in sorted(next(iter(outcomes.values())).sizes):
        for row, (called, outcome) in enumerate(outcomes.items()):
            made.add_row(cell("" if row else _size(*size)), cell(called), *_numbers(outcome.sizes[size]))
    made.add_section()
    for row, (called, outcome) in enumerate(outcomes.items()):
        made.add_row(cell("" if row else "all", "bold"), cell(called), *_numbers(outcome.all_sizes))
    return made


def _size(gpus: int, nodes: int) -> str:
    return str(gpus) if nodes == 1 else f"{nodes} x {gpus}"


def _numbers(waits: Waits) -> list[Text]:
    spans = (waits.p50_s, waits.p95_s, waits.max_s)
    return [cell(waits.number), *(cell("-" if each is None else span(each)) for each in spans), cell(waits.without)]


def span(seconds: float) -> str:
    """`0:05`, in hours and minutes, rounded up: 0:00 is no wait."""
    minutes = -int(-seconds // 60)
    return f"{minutes // 60}:{minutes % 60:02}"
