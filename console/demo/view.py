"""How the demo shows itself: a table whose rows move on a terminal, a line for each move on a pipe."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from pgfleet.console.commands.listing import STYLES
from pgfleet.console.demo.story import Planned
from pgfleet.console.pictures.parts import cell, table
from pgfleet.schema.printable import cut, printable
from pgfleet.schema.reservation import FINAL
from pgfleet.schema.rows.row import Row

if TYPE_CHECKING:
    from rich.console import Console

Show = Callable[["Scene"], None]


@dataclass(frozen=True)
class Scene:
    """What is seen at one look: rows and types by name, the history of all, and how long it has gone on."""

    rows: Mapping[str, Mapping[str, Any]]
    types: Mapping[str, Mapping[str, Any]]
    history: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0


@contextmanager
def stage(console: "Console", planned: Sequence[Planned]) -> Iterator[Show]:
    """Yields what shows a scene."""
    if not console.is_terminal:
        yield _printer(console, planned)
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield lambda scene: live.update(_picture(scene, planned, console.width), refresh=True)


def _printer(console: "Console", planned: Sequence[Planned]) -> Show:
    printed: dict[str, int] = defaultdict(int)

    def show(scene: Scene) -> None:
        for one in planned:
            moves = scene.history[one.reservation_id]
            for move in moves[printed[one.reservation_id] :]:
                line = f"{scene.seconds:5.1f} s  {one.reservation_id[:8]}  {one.wants:<15}  {_states(move):<22}"
                console.print(f"{line}  {_reason(move, one)}")
            printed[one.reservation_id] = len(moves)

    return show


def _states(move: Row) -> str:
    """What it is told while it runs is in its history, and no move."""
    return f"{move['from_status']} -> {move['to_status']}" if is_move(move) else str(move["to_status"])


def is_move(entry: Row) -> bool:
    return bool(entry["from_status"] != entry["to_status"])


def _reason(move: Row, one: Planned) -> str:
    """At first with what there is to see of it."""
    said = printable(move["reason"])
    return f"{said}: {one.what}" if one.what and move["from_status"] == "(new)" else said


# Less room than this says nothing: then the way is left out, and only where each is now is shown.
LEAST_WHY = 24


def _picture(scene: Scene, planned: Sequence[Planned], width: int) -> Table:
    """One line for each, whatever the width: a picture that is taller than the terminal can't be drawn in place."""
    paths = {one.reservation_id: _path(scene.history[one.reservation_id]) for one in planned}
    taken = 35 + max((path.cell_len for path in paths.values()), default=0)
    if width - taken < LEAST_WHY:
        paths = {
            one.reservation_id: _path([*filter(is_move, scene.history[one.reservation_id])][-1:]) for one in planned
        }
        taken = 35 + max((path.cell_len for path in paths.values()), default=0)
    made = table("ID", "WANTS", "WENT THROUGH" if taken > 57 else "STATE", "NOW")
    made.title, made.title_justify = _title(scene, planned), "left"
    for one in planned:
        row = scene.rows.get(one.reservation_id)
        why = _now(row) if row else "sent"
        made.add_row(
            one.reservation_id[:8], one.wants, paths[one.reservation_id], cell(cut(printable(why), width - taken))
        )
    return made


def _now(row: Mapping[str, Any]) -> str:
    """The warning of one that has been warned, until it is over."""
    if row["warnings_sent"] and row["status"] not in FINAL:
        return str(row["warning"] or "")
    return str(row["current_detailed_status"] or row["status_reason"] or "")


def _title(scene: Scene, planned: Sequence[Planned]) -> Text:
    names = dict.fromkeys(one.gpu_type for one in planned if one.gpus)
    held = [
        f"{name} {row['held_gpus']}/{row['total_cluster_gpus']}" for name in names if (row := scene.types.get(name))
    ]
    return Text(f"{scene.seconds:4.0f} s   GPUs held: {'   '.join(held)}", style="bold not italic")


def _path(moves: list[Row]) -> Text:
    text = Text()
    for number, move in enumerate(filter(is_move, moves)):
        text.append(" → " if number else "")
        text.append(move["to_status"], style=STYLES.get(move["to_status"], ""))
    return text
