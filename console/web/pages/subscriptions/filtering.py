"""Which events a subscription is about: as a form asks it, and as a list says it."""

import htpy as h

from pgfleet.console.web.page import Page
from pgfleet.schema.feed.known import known_types
from pgfleet.schema.rows.row import Row


def what() -> h.Node:
    """Boxes for machines, and for what their rows become; none ticked is all."""
    known = [name.split(".") for name in known_types()]
    return [
        _boxes("Of these machines; none is all", "machines", {machine for _, machine, _ in known}),
        _boxes("When they become; none is anything", "states", {state for *_, state in known}),
    ]


def _boxes(title: str, name: str, values: set[str]) -> h.Node:
    return h.details[
        h.summary[title],
        h.div(".boxes")[
            (
                h.label(".tick")[
                    h.input(type="checkbox", name=name, value=value), f" {value.lower().replace('_', ' ')}"
                ]
                for value in sorted(values)
            )
        ],
    ]


def events_told(row: Row) -> h.Node:
    """`reservation, disk becoming failed, of ada`."""
    machines = ", ".join(each.replace("_", " ") for each in row["machines"] or ()) or "anything"
    states = f" becoming {' or '.join(row['states'])}" if row["states"] else ""
    user = f", of {row['of_user']}" if row["of_user"] else ""
    one = f", row {row['row_id']}" if row["row_id"] else ""
    return h.span[f"{machines}{states}{user}{one}"]


# It has no page of its own.
PAGES: tuple[Page, ...] = ()
