"""What an operator does to a reservation that is over: a failed one lives again, one that is not gone is let go of.

failed -> pending: one that failed with its message gets another life when its dead letter is replayed.
"""

from typing import Any

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import array

from pgfleet.schema.errors import Refusal
from pgfleet.schema.queue import kernel
from pgfleet.schema.queue.kernel import Connection, Outgoing
from pgfleet.schema.reservation import QUEUE, TICKETS, Status
from pgfleet.schema.rows.core import FLEET_NOW, fetch, sign
from pgfleet.schema.rows.row import Row
from pgfleet.schema.tables.reservations import reservations
from pgfleet.schema.tickets import next_number

# What the life before has left in the row.
_FORGOTTEN = (
    *("reservation_ended", "failed_at", "failure_reason", "launched_at", "expires_at"),
    *("pod_name", "node_ip", "node_private_ip", "node_port", "ssh_command"),
    *("ebs_volume_id", "ebs_availability_zone", "placement"),
    *("held_by", "held_since", "stuck_told_at", "forced_at", "forced_by"),
    *("retry_at", "pod_missing_since", "warning", "last_warning_time", "status_msg_id"),
    *("gpus_read_at", "idle_since", "idle_warned_at"),
)
_c = reservations.c


def revive(conn: Connection, letter: Row, who: str) -> str | None:
    """Move the failed row of a ticket back to the line, with its gang, in the caller's transaction. What was done.

    Returns:
        None where there is no row to bring back: the letter is no ticket, or its row did not fail.

    Raises:
        Refusal: its pod is still being torn down.
    """
    rows = _failed_rows(conn, letter["message"])
    if not rows:
        return None
    for row in rows:
        if row["reservation_ended"] is None or row["gpus_held"]:
            raise Refusal(f"Reservation {row['reservation_id']} is still being torn down. Try again in a moment.")
    numbers = {row["reservation_id"]: next_number(row) for row in rows}
    reason = f"replayed from dead letter {letter['dead_letter_id']}"
    sign(conn, who, reason)
    # In one statement: the rows of a gang wait since the same moment.
    values = _values(sa.case(numbers, value=_c.reservation_id), reason)
    fetch(conn, sa.update(reservations).where(_c.reservation_id.in_(list(numbers))).values(values))
    line = {"action": "admit", "gpu_type": rows[0]["gpu_type"]}
    tickets = [Outgoing(TICKETS.body(row_id, number)) for row_id, number in numbers.items()]
    kernel.send(conn, QUEUE, [Outgoing(line), *tickets])
    others = f", with the other {len(rows) - 1} of its gang" if len(rows) > 1 else ""
    return f"reservation {letter['message']['reservation_id']} is pending again{others}"


def release_by_force(conn: Connection, row_id: str, who: str) -> bool:
    """Let go of what an ended reservation holds, whether it is gone or not (180); whether there was anything."""
    with conn.transaction():
        sign(conn, who, "released by force")
        (answer,) = fetch(conn, sa.select(sa.func.public.release_by_force(row_id).label("released")))
    return bool(answer["released"])


def _failed_rows(conn: Connection, message: Any) -> list[Row]:
    """That of a ticket, with those of its gang, in the order in which others lock them."""
    if not isinstance(message, dict) or message.get("action") != "advance":
        return []
    columns = (_c.reservation_id, _c.status, _c.gpu_type, _c.gpus_held, _c.ticket, _c.reservation_ended)
    its = sa.func.public.with_gangs(array([str(message.get("reservation_id"))]), type_=sa.ARRAY(sa.Text))
    mine = _c.reservation_id == sa.any_(its)
    rows = fetch(conn, sa.select(*columns).where(mine).order_by(_c.reservation_id).with_for_update())
    return rows if all(row["status"] == Status.FAILED for row in rows) else []


def _values(ticket: sa.ColumnElement[int], reason: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(_FORGOTTEN, sa.null()),
        "status": Status.PENDING.value,
        "status_reason": reason,
        "current_detailed_status": "Waiting for its turn",
        "ticket": ticket,
        # Its wait begins anew, at the end of the line.
        "waiting_since": FLEET_NOW,
        "schedule_failures": 0,
        "warnings_sent": Jsonb({}),
        "gpus_use": Jsonb([]),
    }
