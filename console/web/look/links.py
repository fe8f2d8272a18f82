"""Links to other pages: where there is no such page yet, only its words."""

from functools import lru_cache

import htpy as h
from markupsafe import Markup

from pgfleet.console.web.found import pages
from pgfleet.console.web.look.writing import kept


def to_page(path: str, text: h.Node, query: str = "") -> h.Node:
    """A link to the page of that address, if there is one."""
    is_there = any(page.path == path for page in pages())
    return h.a(href=path + (f"?{query}" if query else ""))[text] if is_there else h.span[text]


@lru_cache(maxsize=10_000)
def to_reservation(reservation_id: str, text: str | None = None) -> Markup:
    return kept(h.a(href=f"/reservations/{reservation_id}", title=reservation_id)[text or reservation_id[:8]])
