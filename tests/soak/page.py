"""The table of a run, and the page that keeps those of the runs so far."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "RESULTS.md"
HEAD = (
    "| what | usual | highest | added over the run | may add |",
    "|---|---|---|---|---|",
)
# So many of those that have come nearest to their bound.
SHOWN = 45


def page(figures: Mapping[str, Any]) -> str:
    """What was measured, those first that have come nearest to their bound."""
    nearest = sorted(figures["trends"], key=lambda each: each["added"] / each["most"], reverse=True)
    return "\n".join([*_said(figures), "", *HEAD, *map(_row, nearest[:SHOWN])])


def written(figures: Mapping[str, Any]) -> None:
    """The newest run first, below the words that the page begins with."""
    before, _, runs = RESULTS.read_text("utf-8").partition("\n## ")
    title = f"## {figures['minutes']:g} minutes at {figures['commit']}"
    older = f"\n\n## {runs}" if runs else "\n"
    RESULTS.write_text(f"{before.rstrip()}\n\n{title}\n\n{page(figures)}{older.rstrip()}\n", "utf-8")


def _said(figures: Mapping[str, Any]) -> Iterator[str]:
    flat = sum(each["is_flat"] for each in figures["trends"])
    load = median(value for _, value in figures["points"]["load of the machine"])
    used = median(value for _, value in figures["points"]["CPU of workers and API"])
    yield (
        f"On {figures['machine']}, which others used as well (load {load:.1f}; workers and the API took {used:.2f} "
        f"cores), seed {figures['seed']}, without the first {figures['warm_s'] / 60:g} minutes. {flat} of "
        f"{len(figures['trends'])} measures stayed within their bounds; "
        f"{len(figures['wrong']) or 'nothing'} was wrong in the end."
    )
    yield ""
    done = ", ".join(f"{number:,} {name}" for name, number in figures["done"].items())
    gone = ", ".join(f"{number:,.0f} of {name}" for name, number in figures["let_go"].items() if number)
    yield f"Done: {done}. Let go: {gone}, and {figures['days_dropped']} tables of whole days."


def _row(each: Mapping[str, Any]) -> str:
    numbers = (_number(each[name], each["unit"]) for name in ("usual", "highest", "added"))
    mark = "" if each["is_flat"] else " **too much**"
    return f"| {each['name']} | {' | '.join(numbers)}{mark} | {_number(each['most'], each['unit'])} |"


def _number(value: float, unit: str) -> str:
    if unit.startswith("bytes") and abs(value) >= 10_000:
        return f"{value / 1000:,.0f} kB{unit.removeprefix('bytes')}"
    return f"{value:,.1f} {unit}".rstrip() if abs(value) < 100 else f"{value:,.0f} {unit}".rstrip()
