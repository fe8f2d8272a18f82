"""`pgfleet dead replay` and `discard`: what a person decides about dead letters, one by one or many at once."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import typer

from pgfleet.console.commands.dead.filters import Kind, Reason, RowId, Verdict, filters_of
from pgfleet.console.connection import database
from pgfleet.console.showing import confirm, print_result
from pgfleet.producers.submit.commands import AsJson, Yes
from pgfleet.producers.submit.terminal import out, print_json, progress
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import plural
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.replay import letters

Numbers = Annotated[
    list[int] | None, typer.Argument(metavar="[NUMBER...]", max=2**63 - 1, help="As `pgfleet dead` shows.")
]
All = Annotated[bool, typer.Option("--all", help="All open ones that the other options leave.")]
SHOWN = 5


def replay(  # noqa: PLR0913  # one parameter an option
    numbers: Numbers = None,
    *,
    every: All = False,
    kind: Kind = None,
    verdict: Verdict = None,
    reason: Reason = None,
    row: RowId = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Send messages again; what failed with one, such as a reservation, goes back to its line.

    With --all, one that can't be replayed leaves the others alone: how many those were, and why, is said at the end.
    """
    who = default_user()
    with database() as conn:
        if numbers:
            for number in numbers:
                print_result("dead_letter_id", number, letters.replay(conn, number, who), as_json=as_json)
            return
        chosen = _chosen(conn, filters_of(kind, verdict, reason, row), every=every)
        confirm([], f"Replay {plural(len(chosen), 'dead letter')}?", yes=yes or not chosen)
        refused: Counter[str] = Counter()
        _report(_replayed(conn, chosen, who, refused), "replayed", len(chosen), refused, as_json=as_json)


def discard(  # noqa: PLR0913  # one parameter an option
    numbers: Numbers = None,
    *,
    every: All = False,
    kind: Kind = None,
    verdict: Verdict = None,
    reason: Reason = None,
    row: RowId = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Say that nothing needs to be done about messages; they stay on record."""
    who = default_user()
    with database() as conn:
        if numbers:
            for number in numbers:
                letters.discard(conn, number, who)
                print_result("dead_letter_id", number, "discarded", as_json=as_json)
            return
        chosen = _chosen(conn, filters_of(kind, verdict, reason, row), every=every)
        confirm([], f"Discard {plural(len(chosen), 'dead letter')}?", yes=yes or not chosen)
        _report(letters.discard_all(conn, chosen, who), "discarded", len(chosen), Counter(), as_json=as_json)


def _chosen(conn: Connection, filters: letters.Filters, *, every: bool) -> list[int]:
    """The numbers of all open letters that the filters leave.

    Raises:
        Refusal: it was not said that all are meant.
    """
    if not every:
        raise Refusal("Give numbers, or --all with what they have in common: --kind, --verdict, --reason, --row.")
    return letters.open_numbers(conn, filters)


def _replayed(conn: Connection, numbers: list[int], who: str, refused: Counter[str]) -> Iterator[int]:
    for number in numbers:
        try:
            letters.replay(conn, number, who)
        except Refusal as error:
            refused[str(error)] += 1
        else:
            yield 1


def _report(done: Iterator[int], verb: str, chosen: int, refused: Counter[str], *, as_json: bool) -> None:
    """Do it, with progress; then say how many, and why not the others.

    Raises:
        Refusal: some could not be replayed.
    """
    number = 0
    with progress() as show:
        for more in done:
            number += more
            if number % letters.AT_ONCE == 0:
                show(f"{verb} {number} of {chosen}")
    if as_json:
        print_json({verb: number, "refused": dict(refused)})
    else:
        out().print(f"{verb}: {number}")
    if refused:
        reasons = [f"  {times} x {reason}" for reason, times in refused.most_common(SHOWN)]
        raise Refusal("\n".join([f"{plural(refused.total(), 'letter')} could not be:", *reasons]))
