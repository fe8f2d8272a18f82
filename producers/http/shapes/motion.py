"""Queues, dead letters, periodic work, findings of the doctor, and the audit, as the API shows them."""

from datetime import datetime, timedelta
from typing import Any

from pgfleet.producers.http.shapes.shown import Shown


class Outage(Shown):
    dependency: str
    calls: str
    kind: str
    reason: str | None
    began_at: datetime
    retry_at: datetime | None


class Queue(Shown):
    """`in_hand`: claimed by a worker, or put back until later. `paused` says since when, where it is."""

    queue: str
    ready: int
    delayed: int
    in_hand: int
    oldest_ready_s: float | None
    dead: int
    rejected: int
    failed: int
    paused: bool


class DeadLetter(Shown):
    dead_letter_id: int
    queue: str
    msg_id: int
    row_id: str | None
    reason: str
    verdict: str
    attempts: int
    enqueued_at: datetime
    died_at: datetime
    answered_at: datetime | None
    answer: str | None
    answered_by: str | None


class DeadLetterWhole(DeadLetter):
    """`message`: what can be shown of it. Secrets are not, nor is what no message of its queue has; null: too large.

    `asked_by` and `asked_role`: who sent it, where that was a person or a service.
    """

    message: Any
    asked_by: str | None
    asked_role: str | None


class Answered(Shown):
    dead_letter_id: int
    done: str


class AnsweredOrNot(Shown):
    """`refused` says why nothing was done."""

    dead_letter_id: int
    done: str | None
    refused: str | None


class AnsweredMany(Shown):
    items: list[AnsweredOrNot]


class Pause(Shown):
    """`name` is a kind, or `deletes`: those outside, of pods, volumes and snapshots."""

    name: str
    by_whom: str
    reason: str | None
    since: datetime
    lasted_s: float


class Periodic(Shown):
    name: str
    queue: str
    every: timedelta
    next_at: datetime
    done_at: datetime | None


class Finding(Shown):
    code: str
    check: str
    severity: str
    text: str
    remedy: str | None


class AuditRow(Shown):
    id: int
    at: datetime | None
    user_id: int | None
    user_email: str | None
    user_role: str | None
    action: str
    category: str
    resource_type: str | None
    resource_id: str | None
    resource_name: str | None
    description: str | None
    details: str | None
    ip_address: str | None
    user_agent: str | None
    status: str | None
    error_message: str | None
