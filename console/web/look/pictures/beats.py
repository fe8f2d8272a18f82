"""Many things as small cells, each with its state; and a day as a strip of such cells."""

from collections.abc import Sequence
from functools import lru_cache

import htpy as h
from markupsafe import Markup

from pgfleet.console.web.look.writing import kept


def grid(cells: Sequence[tuple[str, str | None, str]], label: str) -> h.Element:
    """Cells: (kind, address, what it is). The keyboard passes them by: a list beside them has the same links."""
    return h.div(".beats", role="group", aria_label=label)[(_cell(*each) for each in cells)]


# As many as a fleet has that is looked at: few of a picture's thousand cells have changed since it was drawn last.
@lru_cache(maxsize=20_000)
def _cell(kind: str, address: str | None, told: str) -> Markup:
    if address is None:
        return kept(h.span(class_=["beat", kind], title=told))
    return kept(h.a(class_=["beat", kind], href=address, title=told, aria_label=told, tabindex="-1"))


def strip(cells: Sequence[tuple[str, str]], label: str) -> h.Element:
    """A day from left to right: (kind, what it is)."""
    wide = 10
    return h.svg(
        ".strip", viewBox=f"0 0 {wide * len(cells)} 28", preserveAspectRatio="none", role="img", aria_label=label
    )[
        (
            h.rect(class_=["mark-" + kind], x=str(wide * place), y=top, width="8", height=high)[h.title[told]]
            for place, (kind, told) in enumerate(cells)
            for top, high in [("0", "28") if kind != "quiet" else ("20", "8")]
        )
    ]


def key(kinds: Sequence[tuple[str, str]]) -> h.Element:
    """What the kinds of cells mean."""
    return h.p(".legend")[(h.span[h.span(class_=["beat", kind]), f" {text}"] for kind, text in kinds)]
