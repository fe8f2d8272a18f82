"""`pgfleet pause` and `resume`: an operator holds a kind back, or all deletions outside, and lets them go."""

from typing import Annotated

import typer

from pgfleet.console.connection import database
from pgfleet.console.examples import example
from pgfleet.producers.submit.commands import AsJson
from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import default_user
from pgfleet.schema.brake.pauses import DELETES
from pgfleet.schema.brake.pauses import pause as hold_back
from pgfleet.schema.brake.pauses import resume as let_go
from pgfleet.schema.errors import Refusal

Kind = Annotated[str | None, typer.Argument(metavar="[KIND]", help="As `pgfleet worker` takes it: disk, say.")]
Deletes = Annotated[bool, typer.Option("--deletes", help="All deletions outside: pods, services, volumes, snapshots.")]


@example('pgfleet pause --deletes --reason "the database was restored"')
def pause(
    kind: Kind = None,
    *,
    deletes: Deletes = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for whoever wonders.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold a kind of messages back, or all deletions outside, until `pgfleet resume`. For operators.

    Messages of a kind stay in its queue; what a worker has in hand is brought to its end. While deletions are paused,
    what has ended keeps its pod and its GPUs, and waits. The database keeps it: workers that start later know it, too.
    `pgfleet queues` and `pgfleet doctor` show it.
    """
    what = _what(kind, deletes=deletes)
    with database() as conn:
        is_new = hold_back(conn, what, default_user(), reason)
    _print(what, "paused" if is_new else "paused already", as_json=as_json)


@example("pgfleet resume --deletes")
def resume(kind: Kind = None, *, deletes: Deletes = False, as_json: AsJson = False) -> None:
    """Let go what `pgfleet pause` holds back, or what waits since the database was restored. For operators."""
    what = _what(kind, deletes=deletes)
    with database() as conn:
        was_paused = let_go(conn, what)
    _print(what, "goes on" if was_paused else "was not paused", as_json=as_json)


def _what(kind: str | None, *, deletes: bool) -> str:
    if deletes == (kind is not None):
        raise Refusal("Give a kind, or --deletes.")
    return DELETES if kind is None else kind


def _print(what: str, result: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"what": what, "result": result})
    else:
        out().print(f"{what}: {result}")
