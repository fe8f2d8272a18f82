"""A bar of several parts, and a sparkline: widths are attributes of SVG, as styles in pages are refused."""

from collections.abc import Sequence

import htpy as h
from markupsafe import Markup

WIDTH = 1000


def bar(parts: Sequence[tuple[str, float, str]], label: str) -> h.Node:
    """Parts side by side: (class, amount, what it is); where there is nothing at all, an empty bar."""
    whole = sum(amount for _, amount, _ in parts) or 1
    drawn, at = [], 0.0
    for name, amount, told in parts:
        width = WIDTH * amount / whole
        if width:
            drawn.append(
                h.rect(class_=["bar", f"bar-{name}"], x=f"{at:.1f}", y="0", width=f"{width:.1f}", height="14")[
                    h.title[told]
                ]
            )
        at += width
    return h.svg(".bars", viewBox=f"0 0 {WIDTH} 14", preserveAspectRatio="none", role="img", aria_label=label)[drawn]


def sparkline(values: Sequence[float], label: str) -> h.Node:
    """Values over time as a line, the lowest at the bottom; of fewer than two there is none."""
    if len(values) < 2:
        return h.span(".dim")["–"]
    low, high = min(values), max(values)
    step, scale = 100 / (len(values) - 1), (high - low) or 1
    points = " ".join(
        f"{number * step:.1f},{22 - 20 * (value - low) / scale:.1f}" for number, value in enumerate(values)
    )
    return h.svg(".spark", viewBox="0 0 100 24", preserveAspectRatio="none", role="img", aria_label=label)[
        h.polyline(points=points)
    ]


def patterns() -> Markup:
    """What tells parts of a bar and cells apart without colour; once a page."""
    return Markup(
        '<svg class="unseen" width="0" height="0" aria-hidden="true"><defs>'
        '<pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="stripe-ground" width="6" height="6"/><rect class="stripe" width="3" height="6"/></pattern>'
        '<pattern id="dots" width="8" height="5" patternUnits="userSpaceOnUse">'
        '<rect class="dot-ground" width="8" height="5"/><circle class="dot" cx="3" cy="2.5" r="1.7"/></pattern>'
        "</defs></svg>"
    )
