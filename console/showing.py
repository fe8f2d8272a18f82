"""How a command shows what it has read: as a picture or as JSON, once or again every two seconds."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.live import Live

from pgfleet.producers.submit.terminal import err, out, print_json
from pgfleet.schema.errors import Refusal
from pgfleet.schema.printable import printable

REFRESH_S = 2

Watch = Annotated[bool, typer.Option("--watch", help="Look again every 2 seconds, until Ctrl-C.")]


def show(
    look: Callable[[], dict[str, Any]],
    draw: Callable[[dict[str, Any]], RenderableType],
    *,
    as_json: bool,
    watching: bool = False,
) -> None:
    """Print what there is to see, once or again and again: in place on a terminal, one after another elsewhere."""
    if watching and not as_json and out().is_terminal:
        _repeat_in_place(look, draw)
    while True:
        seen = look()
        if as_json:
            print_json(seen)
        else:
            out().print(draw(seen))
        if not watching:
            return
        time.sleep(REFRESH_S)


def print_result(id_name: str, row_id: object, result: str, *, as_json: bool) -> None:
    """What became of a request: the id of what it is about, and the result."""
    if as_json:
        print_json({id_name: row_id, "result": result})
    else:
        out().print(printable(f"{row_id} {result}"))


def _repeat_in_place(look: Callable[[], dict[str, Any]], draw: Callable[[dict[str, Any]], RenderableType]) -> None:
    with Live(console=out(), auto_refresh=False) as live:
        while True:
            live.update(draw(look()), refresh=True)
            time.sleep(REFRESH_S)


def confirm(told: Sequence[str], question: str, *, yes: bool) -> None:
    """Say what is about to happen, and ask, unless that was answered by --yes.

    Raises:
        Refusal: it shall not be, or nobody can be asked.
    """
    if yes:
        return
    for line in told:
        err().print(line)
    if not sys.stdin.isatty():
        raise Refusal("Nothing was done. Whoever can't be asked says --yes.")
    if not typer.confirm(question, err=True):
        raise Refusal("Nothing was done.")
