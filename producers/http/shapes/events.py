"""Subscriptions to events and their deliveries, as the API shows them: never the address, and the secret once."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from pgfleet.producers.http.shapes.shown import Accepted, Shown


class MadeSubscription(Accepted):
    """`secret` is shown this once: deliveries are signed with it, as Standard Webhooks has it."""

    secret: str


class Subscription(Shown):
    """`next_try_at`: of one whose delivery was not taken. `delivered_to` is a position in the feed."""

    subscription_id: str
    user_id: str
    shown_url: Annotated[str, Field(description="The beginning of its address: the rest may be secret.")]
    format: str
    machines: list[Any] | None
    states: list[Any] | None
    of_user: str | None
    row_id: str | None
    status: str
    status_reason: str | None
    status_since: datetime
    failing_since: datetime | None
    last_delivered_at: datetime | None
    last_answer: str | None
    detail: str | None
    next_try_at: datetime | None
    delivered_to: str
    deliveries: Annotated[int, Field(description="How many there were.")]
    created_at: datetime


class Delivery(Shown):
    """Events after one position up to another. `dead_letter_id`: of one that was given up."""

    number: int
    result: Annotated[str, Field(description="waiting, failing, delivered, given up, passed over or stopped")]
    events: int | None
    tries: int
    answer: str | None
    begun_at: datetime
    next_try_at: datetime | None
    ended_at: datetime | None
    dead_letter_id: int | None
    after: str
    to: str
