"""Reservation messages: one function a request. Each checks the shape, sends, and returns the row's id.

With a connection they join the caller's transaction, so that a message is sent if and only if the caller
commits; without one they use DATABASE_URL and commit by themselves.
"""

import uuid
from datetime import datetime
from typing import Required, TypedDict, Unpack

from pgfleet.producers.sending import send
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.reservation import (
    QUEUE,
    AddUser,
    Cancel,
    CreateReservation,
    DisableJupyter,
    EnableJupyter,
    Extend,
    Retry,
    retried_id,
)


class ReservationFields(TypedDict, total=False):
    """What a reservation may ask for: the fields of `CreateReservation`, for who checks types."""

    reservation_id: str
    user_id: Required[str]
    gpu_type: Required[str]
    gpu_count: Required[int]
    duration_hours: float
    name: str
    github_user: str
    jupyter_enabled: bool
    disk_name: str
    disk_size_gb: int
    dockerimage: str
    env_vars: dict[str, str]
    command: str
    preserve_entrypoint: bool
    secondary_users: list[str]
    total_nodes: int
    idle_minutes: int
    version: str
    submitted_at: str | datetime
    start_at: str | datetime


def create_reservation(conn: Connection | None = None, **fields: Unpack[ReservationFields]) -> str:
    """Ask for GPUs. Without a `reservation_id` a new one is made.

    Raises:
        BadMessage: a field is missing or out of range; nothing was sent.
    """
    fields.setdefault("reservation_id", str(uuid.uuid4()))
    message = send(QUEUE, CreateReservation, fields, conn)
    return message.reservation_id


def cancel(reservation_id: str, user_id: str, conn: Connection | None = None, request_id: str | None = None) -> str:
    """End a reservation in whatever state it is.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    fields = {"reservation_id": reservation_id, "user_id": user_id, "request_id": request_id}
    return send(QUEUE, Cancel, fields, conn).reservation_id


def extend(
    reservation_id: str,
    user_id: str,
    extension_hours: float,
    conn: Connection | None = None,
    request_id: str | None = None,
) -> str:
    """Give a reservation more hours. Sent twice with one `request_id`, it is given them once.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    fields = {
        "reservation_id": reservation_id,
        "user_id": user_id,
        "extension_hours": extension_hours,
        "request_id": request_id,
    }
    return send(QUEUE, Extend, fields, conn).reservation_id


def retry(reservation_id: str, user_id: str, conn: Connection | None = None, request_id: str | None = None) -> str:
    """Ask for the same again as an ended reservation; the new one's id.

    Sent twice with one `request_id`, or twice without, it is one new reservation.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    fields = {"reservation_id": reservation_id, "user_id": user_id, "request_id": request_id}
    message = send(QUEUE, Retry, fields, conn)
    return retried_id(message.reservation_id, message.request_id)


def enable_jupyter(
    reservation_id: str, user_id: str, conn: Connection | None = None, request_id: str | None = None
) -> str:
    """Have Jupyter in a reservation's pod: its address and its token are in the row, or why it can't be had.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    fields = {"reservation_id": reservation_id, "user_id": user_id, "request_id": request_id}
    return send(QUEUE, EnableJupyter, fields, conn).reservation_id


def disable_jupyter(
    reservation_id: str, user_id: str, conn: Connection | None = None, request_id: str | None = None
) -> str:
    """Have no Jupyter any more: its port is closed, and its token is of no use.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    fields = {"reservation_id": reservation_id, "user_id": user_id, "request_id": request_id}
    return send(QUEUE, DisableJupyter, fields, conn).reservation_id


def add_user(
    reservation_id: str,
    user_id: str,
    github_username: str,
    conn: Connection | None = None,
    request_id: str | None = None,
) -> str:
    """Let somebody else into a reservation, by the SSH keys that they have at GitHub.

    Raises:
        BadMessage: a field can't be used; nothing was sent.
    """
    fields = {
        "reservation_id": reservation_id,
        "user_id": user_id,
        "github_username": github_username,
        "request_id": request_id,
    }
    return send(QUEUE, AddUser, fields, conn).reservation_id
