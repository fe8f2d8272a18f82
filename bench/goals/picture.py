"""The picture of pgfleet beside its peers that the README shows: bars, light and dark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

PICTURE = Path(__file__).parents[1] / "peers.svg"
WIDE, LEFT, BAR, GAP, TITLE, LINE = 640, 180, 22, 10, 40, 17
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:16px;font-weight:600}"
    ".caption{font-size:11.5px;fill:#59636e}.ours{fill:#0969da}.peer{fill:#afb8c1}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.caption{fill:#9198a1}.ours{fill:#4493f8}.peer{fill:#656c76}}"
)


def write(figures: Mapping[str, Any]) -> None:
    """Of the figures of the bench of peers."""
    PICTURE.write_text(drawn(figures), "utf-8")


def drawn(figures: Mapping[str, Any]) -> str:
    """As SVG: jobs a second of each, the fastest first, and who was not measured; below, what was done."""
    titles = figures["titles"]
    rates = {name: int(figures[f"{name}_per_s"]) for name in figures["rounds"]}
    ordered = sorted(rates.items(), key=lambda each: -each[1])
    most = max(rates.values())
    lines = [_bar(place, name, titles[name], value, most) for place, (name, value) in enumerate(ordered)]
    left_out = enumerate(figures["not_measured"].items(), len(ordered))
    lines += [_left_out(place, titles[name], why) for place, (name, why) in left_out]
    below = TITLE + len(lines) * (BAR + GAP) + GAP
    caption = _caption(figures)
    lines += [_text(8, below + LINE * place, each, "caption") for place, each in enumerate(caption, 1)]
    told = ", ".join(f"{titles[name]} {value:,}" for name, value in ordered)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {below + LINE * len(caption) + GAP}" role="img" '
        f"aria-label={quoteattr(f'Jobs a second: {told}')}><style>{STYLE}</style>"
        f"{_text(8, 24, 'Jobs a second of one worker process', 'title')}{''.join(lines)}</svg>\n"
    )


def _bar(place: int, name: str, title: str, value: int, most: int) -> str:
    long, kind = max(2, round((WIDE - LEFT - 80) * value / most)), "ours" if name == "pgfleet" else "peer"
    bar = f'<rect class="{kind}" x="{LEFT}" y="{_top(place)}" width="{long}" height="{BAR}" rx="2"/>'
    return _label(place, title) + bar + _text(LEFT + long + 6, _top(place) + BAR - 6, f"{value:,}")


def _left_out(place: int, title: str, why: str) -> str:
    return _label(place, title) + _text(LEFT, _top(place) + BAR - 6, f"not measured: {why}", "caption")


def _label(place: int, title: str) -> str:
    return f'<text x="{LEFT - 8}" y="{_top(place) + BAR - 6}" text-anchor="end">{escape(title)}</text>'


def _text(left: float, base: float, words: str, kind: str = "value") -> str:
    return f'<text class="{kind}" x="{left}" y="{base}">{escape(words)}</text>'


def _top(place: int) -> int:
    return TITLE + place * (BAR + GAP)


def _caption(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """What each did, and where and when: as much in a line as fits."""
    runs = len(figures["rounds"]["pgfleet"])
    return (
        "Each: take a job; one guarded update and its row of history, in one transaction; acknowledge.",
        f"{figures['jobs']:,} jobs, median of {runs} runs, each verified, on one durable PostgreSQL and one machine.",
        f"{figures['date']}, commit {figures['commit']}. Settings and the machine: bench/README.md",
    )
