"""A claimed message on its way through this process, with its past as its headers have it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pgfleet.schema.queue.kernel import Json, Message, Token

# Our part of a message's headers; other clients' headers are kept as they are.
OURS = "pgfleet"


@dataclass(slots=True, eq=False)
class Task:
    """A claimed message, filled in as it is read, loaded and stepped; to replace a frozen one costs 5 us a message.

    Attributes:
        attempts: failed attempts so far.
        released: times that it was claimed and given back without a failure.
        sent_at: when it was first sent, however often it has waited since.
        message: what its body says; None while it has not been read.
        key: what it is about, as its kind says.
        view: what its step looks at; None where that could not be loaded.
        stale: how often its decision has come too late.
    """

    claimed: Message
    attempts: int
    released: int
    sent_at: datetime
    message: Any = None
    key: str | None = None
    view: Any = field(default=None, repr=False)
    stale: int = 0

    @classmethod
    def of(cls, claimed: Message) -> "Task":
        ours = claimed.headers.get(OURS) if isinstance(claimed.headers, dict) else None
        if not isinstance(ours, dict):
            return cls(claimed, 0, 0, claimed.enqueued_at)
        sent_at = _time(ours.get("sent_at")) or claimed.enqueued_at
        return cls(claimed, _count(ours.get("attempts")), _count(ours.get("released")), sent_at)

    @property
    def token(self) -> Token:
        return self.claimed.token

    @property
    def deaths(self) -> int:
        """How often a process ended while it held the message."""
        return self.claimed.token.read_ct - 1 - self.attempts - self.released

    def headers(self, *, attempts: int | None = None, released: int | None = None) -> Json:
        """The headers to go on with: everybody else's, and our counts."""
        theirs = self.claimed.headers if isinstance(self.claimed.headers, dict) else {}
        past = {
            "attempts": self.attempts if attempts is None else attempts,
            "released": self.released if released is None else released,
            "sent_at": self.sent_at.isoformat(),
        }
        return {**theirs, OURS: past}


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1_000_000 else 0


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time if time and time.tzinfo else None
