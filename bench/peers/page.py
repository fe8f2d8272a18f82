"""The table of pgfleet beside its peers in bench/README.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.figures import put

PAGE = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- Peers: written by `python -m bench peers --write` -->\n", "<!-- The end of the peers -->\n"
TITLES = ("", "jobs a second", "pgfleet does times as many", "each round", "settings")


def write(figures: Mapping[str, Any]) -> None:
    """Of the figures of the bench of peers, between the marks."""
    put(PAGE, BEGIN, END, told(figures))


def told(figures: Mapping[str, Any]) -> str:
    """What was done, when and where, and a row for each, the fastest first; last who was not measured, and why."""
    rounds: Mapping[str, list[int]] = figures["rounds"]
    ordered = sorted(rounds, key=lambda name: -int(figures[f"{name}_per_s"]))
    python = figures["python"]
    measured = (
        f"Measured on {figures['date']}, commit {figures['commit']}, on {figures['machine']}. {figures['jobs']:,} jobs "
        f"each, medians of {len(rounds['pgfleet'])}; pgfleet on Python {python['pgfleet']}, the peers on "
        f"{python['peers']}. After each run every row was done, with one row of history."
    )
    return "\n".join(
        [
            measured,
            "",
            f"| {' | '.join(TITLES)} |",
            "|---" * len(TITLES) + "|",
            *(_row(figures, name) for name in ordered),
            *(
                f"| {figures['titles'][name]} | not measured: {why} | | | |"
                for name, why in figures["not_measured"].items()
            ),
            "",
        ]
    )


def _row(figures: Mapping[str, Any], name: str) -> str:
    rounds = ", ".join(f"{per_s:,}" for per_s in figures["rounds"][name])
    ratio = figures["pgfleet_ratio"].get(name, "")
    cells = (figures["titles"][name], f"{figures[f'{name}_per_s']:,}", ratio, rounds, figures["settings"][name])
    return f"| {' | '.join(map(str, cells))} |"
