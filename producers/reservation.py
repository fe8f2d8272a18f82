"""Reservation messages: one function a request. Each checks the shape, sends, and returns the row's id.

With a connection they join the caller's transaction, so that a message is sent if and only if the caller
commits; without one they use DATABASE_URL and commit by themselves.
"""

import uuid
from typing import Any

from pgfleet.producers.sending import send
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reservation import QUEUE, Cancel, CreateReservation, Extend


def create_reservation(conn: Connection | None = None, **fields: Any) -> str:
    """Ask for GPUs. The fields are those of `CreateReservation`; without a `reservation_id` a new one is made.

    Raises:
        BadMessage: a field is missing or out of range; nothing was sent.
    """
    fields.setdefault("reservation_id", str(uuid.uuid4()))
    message = send(QUEUE, CreateReservation, fields, conn)
    return message.reservation_id


def cancel(reservation_id: str, user_id: str, conn: Connection | None = None) -> str:
    """End a reservation in whatever state it is.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    return send(QUEUE, Cancel, {"reservation_id": reservation_id, "user_id": user_id}, conn).reservation_id


def extend(reservation_id: str, user_id: str, extension_hours: float, conn: Connection | None = None) -> str:
    """Give a reservation more hours.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    fields = {"reservation_id": reservation_id, "user_id": user_id, "extension_hours": extension_hours}
    return send(QUEUE, Extend, fields, conn).reservation_id
