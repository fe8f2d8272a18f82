"""Tickets: the messages by which a worker gives a live row its turn, now or at a time.

A row knows the number of its present ticket; a message with another number is stale. Whatever changes what has to
happen to a row next writes the next number and sends the next ticket, in one commit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The number of a ticket that is never stale: a look out of turn, which waits for nothing.
NUDGE = -1


@dataclass(frozen=True, slots=True)
class Tickets:
    """What the tickets of one table look like.

    Attributes:
        machine: whose rows they are of; those without their ticket are in the view `forgotten_<machine>`.
        id_name: the field of the message, and the column of the row, that says which row it is.
    """

    machine: str
    action: str
    id_name: str
    queue: str

    def body(self, row_id: Any, number: int, **more: Any) -> dict[str, Any]:
        return {"action": self.action, self.id_name: str(row_id), "ticket": number, **more}


def next_number(row: Mapping[str, Any]) -> int:
    """The number that follows the row's present one."""
    number: int = row["ticket"] + 1
    return number
