"""What is held back and by whom, with what lets it go on; and what may be held back."""

import htpy as h

from pgfleet.console.web.look.buttons import Act, button, token
from pgfleet.console.web.look.words import when
from pgfleet.console.web.page import View
from pgfleet.schema.brake.pauses import DELETES
from pgfleet.schema.kinds import contracts
from pgfleet.schema.rows.row import Row


def held_back(view: View, held: list[Row]) -> h.Node:
    """One line a pause, with its end."""
    if not held:
        return None
    return h.ul(".needs")[(h.li[_line(view, row)] for row in held)]


def _line(view: View, row: Row) -> h.Node:
    what = DELETES if row["what"] == DELETES else row["name"]
    act = Act(
        "end_pause",
        "Let it go on",
        token("end_pause", what, row["since"]),
        {"what": what},
        done=f"{row['name']}: goes on.",
    )
    return [
        h.p["◫ ", h.strong[row["name"]], f" paused by {row['by_whom']} ", when(row["since"], view.now)],
        row["reason"] and h.p(".dim")[row["reason"]],
        button(view, act),
    ]


def holding(view: View, held: list[Row]) -> h.Node:
    """A button for each kind that goes on, and one for all deletions outside."""
    if not view.may("pauses.write"):
        return None
    names = {row["what"] for row in held}
    kinds = [name for name, contract in contracts().items() if contract.queue not in names]
    return [
        h.h2["Hold back"],
        h.div(".actions")[
            (_pause(view, kind, f"Pause {kind}", _consequence(kind)) for kind in kinds),
            DELETES not in names
            and _pause(
                view,
                DELETES,
                "Pause all deletions",
                "No pod, volume or snapshot is deleted: what has ended keeps its pod and its GPUs until it goes on.",
            ),
        ],
    ]


def _consequence(kind: str) -> str:
    return f"Workers take no {kind} message until it goes on. What is in hand is finished; nothing is lost."


def _pause(view: View, what: str, label: str, consequence: str) -> h.Node:
    act = Act(
        "begin_pause",
        label,
        token("begin_pause", what),
        {"what": what},
        consequence=consequence,
        takes_reason=True,
        done=f"{label}: done.",
    )
    return button(view, act)
