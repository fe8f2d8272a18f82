"""A number over time: a line with its scale, its gaps, and the figure of each moment on hover."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import htpy as h

from pgfleet.console.web.look.words import number

WIDE, HIGH, PAD = 480, 100, 4


@dataclass(frozen=True, slots=True)
class Scale:
    """What is drawn: its unit, and the least and the most of its axis, where they are known beforehand."""

    unit: str = ""
    low: float | None = None
    high: float | None = None


def plot(name: str, values: Sequence[float | None], until: datetime, step: timedelta, scale: Scale) -> h.Element:
    """Values, the oldest first, each of a time of one length; the last ends at `until`. None is a gap."""
    known = [value for value in values if value is not None]
    title = h.figcaption[name, " ", h.strong[_figure(known[-1], scale) if known else "–"]]
    if not known:
        return h.figure(".plot")[title, h.p(".empty")["Nothing was measured in the last day."]]
    low = min(known) if scale.low is None else scale.low
    high = max(known) if scale.high is None else max(scale.high, *known)
    told = f"{name}: {_figure(min(known), scale)} to {_figure(max(known), scale)}, now {_figure(known[-1], scale)}"
    return h.figure(".plot")[
        title,
        h.div(".plot-area")[
            h.span(".plot-high")[_figure(high, scale)],
            h.svg(viewBox=f"0 0 {WIDE} {HIGH}", preserveAspectRatio="none", role="img", aria_label=told)[
                h.path(".plot-line", d=_line(values, low, high)), _moments(values, until, step, scale)
            ],
            h.span(".plot-low")[_figure(low, scale)],
        ],
        h.div(".plot-ends")[h.span[_ago(step * len(values))], h.span["now"]],
    ]


def _line(values: Sequence[float | None], low: float, high: float) -> str:
    """One value alone between gaps is a short line, too."""
    span, wide = (high - low) or 1, WIDE / len(values)
    drawn, is_open = [], False
    for place, value in enumerate(values):
        if value is None:
            is_open = False
            continue
        y = HIGH - PAD - (HIGH - 2 * PAD) * (value - low) / span
        drawn.append(f"{'L' if is_open else 'M'}{place * wide:.1f} {y:.1f}L{(place + 1) * wide:.1f} {y:.1f}")
        is_open = True
    return "".join(drawn)


def _moments(values: Sequence[float | None], until: datetime, step: timedelta, scale: Scale) -> list[h.Element]:
    """Nothing to see, but what the pointer finds."""
    wide, begin = WIDE / len(values), until - step * len(values)
    return [
        h.rect(".plot-moment", x=f"{place * wide:.1f}", y="0", width=f"{wide:.1f}", height=str(HIGH))[
            h.title[f"{begin + step * place:%H:%M} UTC: {_figure(value, scale)}"]
        ]
        for place, value in enumerate(values)
        if value is not None
    ]


def _figure(value: float, scale: Scale) -> str:
    if scale.unit == "%":
        return f"{value:,.0f} %"
    return number(round(value, 2) if abs(value) < 10 else round(value, 1), scale.unit, scale.unit)


def _ago(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.0f} h ago"
