"""The picture of pgfleet beside its peers that the README shows: bars, light and dark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

PICTURE = Path(__file__).parents[1] / "peers.svg"
WIDE, LEFT, BAR, GAP = 640, 150, 22, 10
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.ours{fill:#0969da}.peer{fill:#afb8c1}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#4493f8}.peer{fill:#656c76}}"
)


def write(figures: Mapping[str, Any]) -> None:
    """Of the figures of the bench of peers."""
    PICTURE.write_text(drawn(figures), "utf-8")


def drawn(figures: Mapping[str, Any]) -> str:
    """As SVG: jobs a second of each, the fastest first."""
    rates = {name.removesuffix("_per_s"): value for name, value in figures.items() if name.endswith("_per_s")}
    ordered = sorted(rates.items(), key=lambda each: -each[1])
    high, most = len(ordered) * (BAR + GAP) + GAP, max(rates.values())
    bars = "".join(_bar(place, name, value, most) for place, (name, value) in enumerate(ordered))
    told = ", ".join(f"{name} {value:,}" for name, value in ordered)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {high}" role="img" '
        f'aria-label="Jobs a second: {escape(told)}"><style>{STYLE}</style>{bars}</svg>\n'
    )


def _bar(place: int, name: str, value: int, most: int) -> str:
    top, long = GAP + place * (BAR + GAP), max(2, round((WIDE - LEFT - 80) * value / most))
    middle, kind = top + BAR - 6, "ours" if name == "pgfleet" else "peer"
    return (
        f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>'
        f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{long}" height="{BAR}" rx="2"/>'
        f'<text x="{LEFT + long + 6}" y="{middle}">{value:,}</text>'
    )
