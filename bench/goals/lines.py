"""The picture of growth: a panel for each thing that grows, with a rate a dot; light and dark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

PICTURE = Path(__file__).parents[1] / "growth.svg"
WIDE, HIGH, SIDE, TOP, BOTTOM = 400, 190, 40, 52, 34
PANELS = (
    ("waiting_per_s", "Transitions a second", "messages that wait behind them"),
    ("history_per_s", "Transitions a second", "rows of history"),
    ("workers_per_s", "Transitions a second", "worker processes"),
    ("heartbeats_per_s", "Heartbeats a second", "heartbeats that were counted before"),
)
STYLE = (
    "text{font:11.5px system-ui,sans-serif;fill:#59636e;text-anchor:middle}.title{font-size:14px;"
    "font-weight:600;fill:#1f2328;text-anchor:start}.value{fill:#1f2328}polyline{fill:none;stroke:#0969da;stroke-width:2}circle{fill:#0969da}"
    "line{stroke:#d1d9e0}@media(prefers-color-scheme:dark){text{fill:#9198a1}.title,.value{fill:#e6edf3}"
    "polyline{stroke:#4493f8}circle{fill:#4493f8}line{stroke:#3d444d}}"
)


def write(figures: Mapping[str, Any], when: str) -> None:
    """Of the figures of the bench of growth, and when they were measured."""
    PICTURE.write_text(drawn(figures, when), "utf-8")


def drawn(figures: Mapping[str, Any], when: str) -> str:
    """As SVG; each panel begins at zero, and its steps are those that were measured, side by side."""
    panels = [
        f'<g transform="translate({place % 2 * WIDE} {place // 2 * HIGH})">{_panel(title, below, figures[name])}</g>'
        for place, (name, title, below) in enumerate(PANELS)
    ]
    high = (len(PANELS) + 1) // 2 * HIGH
    told = "; ".join(
        f"{title} by {below}: " + ", ".join(f"{_short(each)} {value:,}" for each, value in figures[name].items())
        for name, title, below in PANELS
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDE} {high + 24}" role="img" '
        f"aria-label={quoteattr(told)}><style>{STYLE}</style>{''.join(panels)}"
        f'<text x="{WIDE}" y="{high + 12}">{escape(when)}</text></svg>\n'
    )


def _panel(title: str, below: str, rates: Mapping[Any, int]) -> str:
    step, most = (WIDE - 2 * SIDE) / max(len(rates) - 1, 1), max(rates.values())
    base = HIGH - BOTTOM
    dots = [
        (SIDE + step * place, base - (base - TOP) * value / most, each, value)
        for place, (each, value) in enumerate(rates.items())
    ]
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y, _, _ in dots)
    marks = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3.5"/><text class="value" x="{x:.0f}" y="{y - 8:.0f}">{value:,}</text>'
        f'<text x="{x:.0f}" y="{base + 14}">{_short(each)}</text>'
        for x, y, each, value in dots
    )
    return (
        f'<text class="title" x="12" y="20">{escape(title)}</text>'
        f'<line x1="12" x2="{WIDE - 12}" y1="{base}" y2="{base}"/>'
        f'<polyline points="{line}"/>{marks}<text x="{WIDE / 2:.0f}" y="{base + 29}">{escape(below)}</text>'
    )


def _short(number: Any) -> str:
    """100000 as 100k, 10000000 as 10M."""
    value = int(number)
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:g}{sign}"
    return str(value)
