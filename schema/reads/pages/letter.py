"""Pages of dead letters, without their bodies: those hold what people have written; of one what can be shown of it."""

from functools import cache
from typing import Any

import sqlalchemy as sa

from pgfleet.schema.kinds import contracts
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reads.pages.keyset import Page, Place, Wanted, page
from pgfleet.schema.reads.resolve import first
from pgfleet.schema.replay.letters import Filters
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.runtime import dead_letters

# In place of the value of a field that no message of its queue has.
UNKNOWN = "(not shown: no message of this queue has this field)"
# What messages between workers have.
_OURS = frozenset({"action", "type", "ticket", "reservation_id", "at", "since", "kind", "reason"})
_d = dead_letters.c
_PLACE = Place(_d.died_at, _d.dead_letter_id, sa.func.greatest(_d.died_at, _d.answered_at))
_COLUMNS = (
    *(_d.dead_letter_id, _d.queue, _d.msg_id, _d.row_id, _d.reason, _d.verdict, _d.attempts),
    *(_d.enqueued_at, _d.died_at, _d.answered_at, _d.answer, _d.answered_by),
)


def listed(conn: Connection, filters: Filters, wanted: Wanted) -> Page:
    """Dead letters by when they died.

    Raises:
        BadCursorError: there is no such page.
    """
    return page(conn, sa.select(*_COLUMNS).where(*filters.conditions()), _PLACE, wanted)


def by_number(conn: Connection, number: int) -> Row | None:
    """One dead letter, without its body."""
    return first(conn, sa.select(*_COLUMNS).where(_d.dead_letter_id == number))


def whole(conn: Connection, letter: Row) -> dict[str, Any]:
    """What was in it, and who sent it: message, asked_by, asked_role. For operators.

    Of what no message of its queue has, only the name: it may be anything, so perhaps a secret.
    """
    told = sa.func.public.letter_shown(letter["dead_letter_id"]).table_valued("message", "sender")
    found = first(conn, sa.select(told.c.message, told.c.sender)) or {"message": None, "sender": None}
    sender = found["sender"] or {}
    message = _known(letter["queue"], found["message"])
    return {"message": message, "asked_by": sender.get("asked_by") or None, "asked_role": sender.get("asked_role")}


def _known(queue: str, message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    fields = _fields(queue) | _OURS
    return {name: value if name in fields else UNKNOWN for name, value in message.items()}


@cache
def _fields(queue: str) -> frozenset[str]:
    """What the messages of a queue have that anybody may send."""
    found = (contract for contract in contracts().values() if contract.queue == queue)
    return frozenset(
        name
        for contract in found
        for model in contract.requests.values()
        for name in (*contract.ids, *model.model_json_schema()["properties"])
    )
