"""Amounts by day as bars, each of several parts one above the other, with the figures of a day on hover."""

from collections.abc import Mapping, Sequence
from datetime import date

import htpy as h

from pgfleet.console.web.look.words import number

HIGH, WIDE, GAP = 120, 24, 4
# Beyond them parts look the same; what they are is on hover, too.
TONES = 6


def days(amounts: Mapping[date, Mapping[str, float]], parts: Sequence[str], unit: str, label: str) -> h.Element:
    """A bar a day, in the order given; `parts` from the bottom up."""
    most = max((sum(of_day.values()) for of_day in amounts.values()), default=0.0) or 1.0
    whole = sum(sum(of_day.values()) for of_day in amounts.values())
    told = f"{label}: {_figure(whole, unit)} in all, on one day at most {_figure(most, unit)}"
    names = list(amounts)
    return h.figure(".plot.by-day")[
        h.div(".plot-area")[
            h.span(".plot-high")[_figure(most, unit)],
            h.svg(
                viewBox=f"0 0 {WIDE * max(len(names), 1)} {HIGH}",
                preserveAspectRatio="none",
                role="img",
                aria_label=told,
            )[(_day(place, day, amounts[day], parts, most, unit) for place, day in enumerate(names))],
        ],
        h.div(".plot-ends")[(h.span[_short(day)] for day in _some(names))],
    ]


def _day(  # noqa: PLR0913  # what one bar is drawn from
    place: int, day: date, amounts: Mapping[str, float], parts: Sequence[str], most: float, unit: str
) -> h.Element:
    top, drawn = float(HIGH), []
    for tone, part in enumerate(parts):
        high = (HIGH - 4) * amounts.get(part, 0.0) / most
        if high > 0:
            top -= high
            drawn.append(
                h.rect(
                    class_=f"use-{tone % TONES}",
                    x=str(place * WIDE + GAP / 2),
                    y=f"{top:.1f}",
                    width=str(WIDE - GAP),
                    height=f"{high:.1f}",
                )
            )
    figures = ", ".join(f"{part} {number(round(amounts[part], 1))}" for part in parts if amounts.get(part))
    hover = h.rect(".plot-moment", x=str(place * WIDE), y="0", width=str(WIDE), height=str(HIGH))[
        h.title[
            f"{day:%a %d %b}: {number(round(sum(amounts.values()), 1), unit, unit)}{f' ({figures})' if figures else ''}"
        ]
    ]
    return h.g[drawn, hover]


def _figure(amount: float, unit: str) -> str:
    return number(round(amount, 1), unit, unit)


def _some(names: Sequence[date]) -> list[date]:
    """The first, the last, and some between."""
    if not names:
        return []
    places = {round(part * (len(names) - 1) / 4) for part in range(5)}
    return [names[place] for place in sorted(places)]


def _short(day: date) -> str:
    return f"{day.day} {day:%b}"


def key(parts: Sequence[str]) -> h.Element:
    """Which colour is which part."""
    return h.p(".legend")[
        (
            h.span[h.svg(".swatch", viewBox="0 0 10 10", aria_hidden="true")[_swatch(tone)], part]
            for tone, part in enumerate(parts)
        )
    ]


def _swatch(tone: int) -> h.Element:
    return h.rect(class_=f"use-{tone % TONES}", x="0", y="0", width="10", height="10")
