"""What the steps of event messages share: the client, and the messages that they send."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from pgfleet.schema.event import TICKETS
from pgfleet.schema.rows.row import Row
from pgfleet.schema.settings import Settings
from pgfleet.workers.clients.webhooks.posting import Answer, Webhooks, delivering
from pgfleet.workers.clients.webhooks.reach import Reach
from pgfleet.workers.clients.webhooks.signing import signed
from pgfleet.workers.event.bodies import Body
from pgfleet.workers.event.metrics import count
from pgfleet.workers.event.slow import Slow
from pgfleet.workers.event.view import Target, View
from pgfleet.workers.runtime import kind
from pgfleet.workers.runtime.outcomes import Send
from pgfleet.workers.runtime.outside.breakers import Breakers


@dataclass(frozen=True, slots=True)
class Tools:
    webhooks: Webhooks
    slow: Slow


@contextmanager
def connected(settings: Settings, breakers: Breakers | None) -> Iterator[Tools]:  # noqa: ARG001  # tools of a kind
    """The client of one process. No breaker: each subscriber is by itself, and backs off by itself."""
    with delivering(Reach.of(settings.events_may_reach)) as webhooks:
        yield Tools(webhooks, Slow(settings.effect_threads // 2))


Turn: TypeAlias = kind.Turn[View, Tools]


def look(row_id: object) -> Send:
    """Is there anything to be told?"""
    return Send({"action": "look", "subscription_id": str(row_id)}, queue=TICKETS.queue)


def webhook_id(row: Row, what: str) -> str:
    """The same at each try: whoever has taken a batch knows it again."""
    return f"msg_{uuid.uuid5(row.subscription_id, what).hex}"


def post(row: Row, target: Target, body: Body, delivery_id: str, turn: Turn) -> Answer:
    """One delivery, signed at this moment.

    Raises:
        TryAgainError: it may be slow, and so many others are that it has to wait.
    """
    turn.hold()
    headers = signed(target.secret, delivery_id, turn.now, body.content)
    with turn.tools.slow.waiting(row.subscription_id, is_failing=row.failing_since is not None):
        answer = turn.tools.webhooks.post(target.url, body.content, body.media_type, headers)
    count(answer)
    return answer
