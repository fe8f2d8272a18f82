"""failed -> pending: an assignment that failed with its ticket gets another life when the letter is replayed."""

from typing import Any

import sqlalchemy as sa

from pgfleet.schema.assignment import QUEUE, TICKETS, WAITING, Status
from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Connection, Outgoing
from pgfleet.schema.rows.core import FLEET_NOW, fetch, sign
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.hopsworks import user_hopsworks_assignments
from pgfleet.schema.tickets import next_number

# What the life before has left in the row.
_FORGOTTEN = ("failed_at", "released_at", "hopsworks_username", "status_msg_id")
_a = user_hopsworks_assignments.c


def revive(conn: Connection, letter: Row, who: str) -> str | None:
    """Move the failed row of a ticket back to the line, in the caller's transaction. What was done.

    Returns:
        None where there is no row to bring back: the letter is no ticket, or its row did not fail.
    """
    row = _failed_row(conn, letter["message"])
    if row is None:
        return None
    user_id, number = row["user_id"], next_number(row)
    reason = f"replayed from dead letter {letter['dead_letter_id']}"
    sign(conn, who, reason)
    fetch(conn, sa.update(user_hopsworks_assignments).where(_a.id == row["id"]).values(_values(number, reason)))
    kernel.send(conn, QUEUE, [Outgoing({"action": "admit"}), Outgoing(TICKETS.body(user_id, number))])
    return f"the assignment of {user_id} is pending again"


def _failed_row(conn: Connection, message: Any) -> Row | None:
    if not isinstance(message, dict) or message.get("action") != "advance":
        return None
    columns = (_a.id, _a.user_id, _a.status, _a.ticket)
    mine = _a.user_id == str(message.get("user_id"))
    rows = fetch(conn, sa.select(*columns).where(mine).with_for_update())
    return rows[0] if rows and rows[0]["status"] == Status.FAILED else None


def _values(ticket: int, reason: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(_FORGOTTEN, sa.null()),
        "status": Status.PENDING.value,
        "status_reason": reason,
        "detail": WAITING,
        "ticket": ticket,
        # Its wait begins anew, at the end of the line; what was sent before is late.
        "asked_at": FLEET_NOW,
    }
