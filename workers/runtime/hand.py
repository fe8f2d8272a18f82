"""What this process has in hand: the messages it has claimed, what it remembers of each, and until when."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from pgfleet.schema.queue.kernel import Json, Message, Token
from pgfleet.workers.runtime.outcomes import LeaseLostError

# Our part of a message's headers; other clients' headers are kept as they are.
OURS = "pgfleet"


@dataclass(frozen=True)
class Delivery:
    """A claimed message and its past, as its headers tell it.

    Attributes:
        attempts: failed attempts so far.
        released: times that it was claimed and given back without a failure.
    """

    message: Message

    @property
    def token(self) -> Token:
        return self.message.token

    @cached_property
    def _past(self) -> dict[str, Any]:
        headers = self.message.headers
        ours = headers.get(OURS) if isinstance(headers, dict) else None
        return ours if isinstance(ours, dict) else {}

    @property
    def attempts(self) -> int:
        return _count(self._past.get("attempts"))

    @property
    def released(self) -> int:
        return _count(self._past.get("released"))

    @property
    def sent_at(self) -> datetime:
        try:
            told = datetime.fromisoformat(self._past["sent_at"])
        except (KeyError, TypeError, ValueError):
            return self.message.enqueued_at
        return told if told.tzinfo else self.message.enqueued_at

    @property
    def deaths(self) -> int:
        """How often a process that had it in hand ended without a word."""
        return self.token.read_ct - 1 - self.attempts - self.released

    def headers(self, *, attempts: int | None = None, released: int | None = None) -> Json:
        """The headers to go on with: everybody else's, and our counts."""
        theirs = self.message.headers if isinstance(self.message.headers, dict) else {}
        past = {
            "attempts": self.attempts if attempts is None else attempts,
            "released": self.released if released is None else released,
            "sent_at": self.sent_at.isoformat(),
        }
        return {**theirs, OURS: past}


@dataclass(slots=True)
class Task:
    """A message on its way through a claim. `stale`: how often its decision has come too late."""

    delivery: Delivery
    message: Any
    key: str
    stale: int = field(default=0)


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1_000_000 else 0


class Hand:
    """The leases of one queue in this process; safe to use from every thread."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        self._until: dict[Token, float] = {}
        self._lock = threading.Lock()

    def take(self, tokens: Iterable[Token], asked_at: float) -> None:
        """Note a claim or a renewal that was asked for at `asked_at` (time.monotonic)."""
        with self._lock:
            self._until.update(dict.fromkeys(tokens, asked_at + self.lease_s))

    def renew(self, tokens: Iterable[Token], asked_at: float) -> None:
        """Note a renewal, but only of what has not been dropped since."""
        with self._lock:
            self._until.update({t: asked_at + self.lease_s for t in tokens if t in self._until})

    def drop(self, tokens: Iterable[Token]) -> None:
        with self._lock:
            for token in tokens:
                self._until.pop(token, None)

    def tokens(self) -> list[Token]:
        with self._lock:
            return list(self._until)

    def hold(self, token: Token) -> None:
        """Raise LeaseLostError unless the message is ours for a while yet."""
        if time.monotonic() >= self._until.get(token, 0):
            raise LeaseLostError(f"message {token.msg_id} is no longer ours")

    def __len__(self) -> int:
        return len(self._until)
