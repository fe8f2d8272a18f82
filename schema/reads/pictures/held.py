"""Reading how many GPUs were held over a day, as pages draw it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.named import ask, named

SQL = named(__package__)
QUARTERS = 96


@dataclass(frozen=True, slots=True)
class Use:
    """GPUs of a type that were held in each quarter of an hour of a day, the oldest first; None: nobody counted.

    Attributes:
        total: how many there were, in the last quarter of an hour that was counted.
        share: what part of them was held on average, from 0 to 1; None where there were none.
    """

    held: Sequence[float | None]
    total: float
    share: float | None


def use_of_a_day(conn: Connection) -> Mapping[str, Use]:
    """How the GPUs of each type that has any were used over the last 24 hours."""
    by_type = defaultdict(list)
    for row in ask(conn, SQL["held_over_time"]):
        by_type[row["gpu_type"]].append(row)
    uses = {}
    for name, rows in by_type.items():
        held, total = sum(row["held"] for row in rows), sum(row["total"] for row in rows)
        at = {row["place"]: row["held"] for row in rows}
        if held or total:
            places = [at.get(place) for place in range(QUARTERS)]
            uses[name] = Use(places, rows[-1]["total"], held / total if total else None)
    return uses
