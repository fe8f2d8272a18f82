"""A machine as a picture: its states, the arrows between them, and the way that one row took."""

from collections.abc import Iterable, Mapping

import htpy as h

WIDE, HIGH, GAP_X, GAP_Y = 104, 34, 148, 78
# Room above for the arrows that pass a state by.
ABOVE = 24
NEW = "(new)"
Places = Mapping[str, tuple[int, int]]


def picture(
    places: Places, moves: Iterable[tuple[str, str]], taken: Iterable[tuple[str, str]], current: str
) -> h.Element:
    """States at (column, row). What was taken is drawn strong; the current state is filled."""
    way = set(taken)
    been = {state for move in way for state in move} | {current}
    arrows = sorted({move for move in (*moves, *way) if set(move) <= places.keys()}, key=lambda move: move in way)
    columns, rows = (max(place[axis] for place in places.values()) + 1 for axis in (0, 1))
    width, height = (columns - 1) * GAP_X + WIDE + 8, (rows - 1) * GAP_Y + HIGH + ABOVE + 4
    named = ", ".join(f"{a} to {b}" for a, b in taken if a != NEW)
    return h.div(".scroll", tabindex="0", role="region", aria_label="States")[
        h.svg(
            ".machine",
            viewBox=f"0 0 {width} {height}",
            width=str(width),
            height=str(height),
            role="img",
            aria_label=f"It is {current}." + (f" It went from {named}." if named else ""),
        )[
            h.defs[(_head("head"), _head("head-taken"))],
            (_arrow(places[a], places[b], is_taken=(a, b) in way) for a, b in arrows),
            (_state(name, place, name == current, name in been) for name, place in places.items()),
        ]
    ]


def _head(name: str) -> h.Element:
    return h.marker(
        id=name,
        viewBox="0 0 8 8",
        refX="7",
        refY="4",
        markerWidth="9",
        markerHeight="9",
        markerUnits="userSpaceOnUse",
        orient="auto",
    )[h.path(d="M0 0 8 4 0 8z", class_=name)]


def _state(name: str, place: tuple[int, int], is_current: bool, was_there: bool) -> h.Node:  # noqa: FBT001
    x, y = place[0] * GAP_X + 4, place[1] * GAP_Y + ABOVE
    kind = {"node": True, "current": is_current, "been": was_there}
    return h.g(class_=kind)[
        h.rect(x=str(x), y=str(y), width=str(WIDE), height=str(HIGH), rx="6"),
        h.text(x=str(x + WIDE // 2), y=str(y + HIGH // 2 + 5), text_anchor="middle")[
            ("● " if is_current else "") + name
        ],
    ]


def _arrow(start: tuple[int, int], end: tuple[int, int], *, is_taken: bool) -> h.Element:
    """From edge to edge; between rows it bends, so that arrows do not lie on one another."""
    x1, y1, x2, y2 = start[0] * GAP_X + 4, start[1] * GAP_Y + ABOVE, end[0] * GAP_X + 4, end[1] * GAP_Y + ABOVE
    if start[1] == end[1]:
        forward = end[0] > start[0]
        up = 9 if forward else 25
        a, b = (x1 + WIDE, x2) if forward else (x1, x2 + WIDE)
        d = f"M{a} {y1 + up} L{b} {y2 + up}"
        if abs(end[0] - start[0]) > 1:
            d = f"M{x1 + WIDE // 2} {y1} Q{(x1 + x2 + WIDE) // 2} {y1 - 34} {x2 + WIDE // 2} {y2}"
    else:
        down = end[1] > start[1]
        a, b = (y1 + HIGH, y2) if down else (y1, y2 + HIGH)
        lean = 14 if down else -14
        from_x, to_x, between = x1 + WIDE // 2 + lean, x2 + WIDE // 2 + lean, (a + b) // 2
        d = f"M{from_x} {a} C{from_x} {between} {to_x} {between} {to_x} {b}"
    return h.path(
        d=d, class_={"arrow": True, "taken": is_taken}, marker_end=f"url(#{'head-taken' if is_taken else 'head'})"
    )
