"""What the views of nodes and clusters share: one look or many, cells, ages, and the sweep's doubts."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import JustifyMethod, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pgfleet.producers.submit.terminal import out, print_json
from pgfleet.producers.submit.wording import span

REFRESH_S = 2
# A sweep is due every 15 seconds (024): after so many, nobody is sweeping.
SWEEPS_MISSED_S = 90
STYLES = {
    "ACTIVE": "green",
    "INACTIVE": "dim",
    "ERROR": "red",
    "OFFLINE": "red",
    "online": "green",
    "active": "green",
    "healthy": "green",
    "provisioning": "yellow",
    "initializing": "yellow",
    "warning": "yellow",
    "degraded": "yellow",
    "maintenance": "cyan",
    "error": "red",
    "critical": "red",
    "offline": "red",
    "decommissioning": "dim",
    "unknown": "dim",
}

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Watch = Annotated[bool, typer.Option("--watch", help="Look again every 2 seconds, until Ctrl-C.")]


def show(
    look: Callable[[], dict[str, Any]],
    draw: Callable[[dict[str, Any]], RenderableType],
    *,
    as_json: bool,
    watching: bool,
) -> None:
    """Print what there is to see, once or again and again: in place on a terminal, one after another elsewhere."""
    if watching and not as_json and out().is_terminal:
        _follow_live(look, draw)
    while True:
        seen = look()
        if as_json:
            print_json(seen)
        else:
            out().print(draw(seen))
        if not watching:
            return
        time.sleep(REFRESH_S)


def _follow_live(look: Callable[[], dict[str, Any]], draw: Callable[[dict[str, Any]], RenderableType]) -> None:
    with Live(console=out(), auto_refresh=False) as live:
        while True:
            live.update(draw(look()), refresh=True)
            time.sleep(REFRESH_S)


def table(*headings: str, right: tuple[str, ...] = (), fold: tuple[str, ...] = ()) -> Table:
    """A table without lines; `right` holds numbers, `fold` goes on in a second line where the terminal is narrow."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        justify: JustifyMethod = "right" if heading in right else "left"
        made.add_column(heading, no_wrap=heading not in fold, overflow="fold", justify=justify)
    return made


def cell(text: object, style: str = "") -> Text:
    """A cell; nothing for None. What a node says of itself can't move the cursor or break the line."""
    plain = "" if text is None else str(text)
    return Text(" ".join("".join(c if c.isprintable() else " " for c in plain).split()), style)


def status(name: str, shown: str | None = None) -> Text:
    return cell(shown or name, STYLES.get(name, ""))


def age(seconds: float | None) -> str:
    return "never" if seconds is None else f"{span(seconds)} ago"


def short(config_hash: str | None) -> str:
    return (config_hash or "")[:8]


def sweep_notes(sweep: dict[str, Any] | None) -> list[Text]:
    """What there is to say of the offline sweep, where its silence would mislead."""
    if sweep is None or sweep["swept_s"] > SWEEPS_MISSED_S:
        last = "never" if sweep is None else f"last {span(sweep['swept_s'])} ago"
        return [cell(f"nobody looks for silent nodes ({last}): is `pgfleet worker heartbeat` running?", "yellow")]
    if sweep["held_back"] is None:
        return []
    since = f"{sweep['held_back_since']:%Y-%m-%d %H:%M:%S %Z} ({span(sweep['held_back_s'])})"
    return [cell(f"no node is marked offline since {since}: {sweep['held_back']}", "yellow")]
