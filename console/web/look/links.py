"""Links to other pages: where there is no such page yet, only its words."""

import htpy as h

from pgfleet.console.web.found import pages


def to_page(path: str, text: h.Node, query: str = "") -> h.Node:
    """A link to the page of that address, if there is one."""
    is_there = any(page.path == path for page in pages())
    return h.a(href=path + (f"?{query}" if query else ""))[text] if is_there else h.span[text]


def to_reservation(reservation_id: str, text: h.Node = None) -> h.Element:
    return h.a(href=f"/reservations/{reservation_id}", title=reservation_id)[text or reservation_id[:8]]
