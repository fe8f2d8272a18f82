"""A claimed message on its way through this process, with its past as its headers have it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pgfleet.schema.asking import Asked, asked
from pgfleet.schema.messages import CONTRACT_HEADER
from pgfleet.schema.queue.claims import OLDEST
from pgfleet.schema.queue.kernel import OURS, Json, Message, Token
from pgfleet.schema.tracing import spans


@dataclass(slots=True, eq=False)
class Task:
    """A claimed message, filled in as it is read, loaded and stepped; to replace a frozen one costs 5 us a message.

    Attributes:
        attempts: failed attempts so far.
        released: times that it was claimed and given back without a failure.
        held: of these the last ones in a row, in which the outside was in trouble.
        deaths: steps of it that were begun and never ended, as their process ended first.
        begun: whether it is written that a step of it has begun, of which nothing is written yet.
        sent_at: when it was first sent, however often it has waited since.
        message: what its body says; None while it has not been read.
        key: what it is about, as its kind says.
        view: what its step looks at; None where that could not be loaded.
        stale: how often its decision has come too late.
        span: of its last step, where spans are recorded.
    """

    claimed: Message
    attempts: int
    released: int
    sent_at: datetime
    held: int = 0
    deaths: int = 0
    begun: bool = False
    message: Any = None
    key: str | None = None
    view: Any = field(default=None, repr=False)
    stale: int = 0
    span: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, claimed: Message) -> "Task":
        ours = claimed.headers.get(OURS) if isinstance(claimed.headers, dict) else None
        if not isinstance(ours, dict):
            return cls(claimed, 0, 0, claimed.enqueued_at)
        counts = ("attempts", "released", "held", "begun")
        # Each was counted at a claim, and this one has not been counted.
        most = max(claimed.token.read_ct - 1, 0)
        attempts, released, held, deaths = (min(_count(ours.get(name)), most) for name in counts)
        return cls(claimed, attempts, released, _sent_at(ours, claimed.enqueued_at), held, deaths)

    @property
    def token(self) -> Token:
        return self.claimed.token

    @property
    def suspect(self) -> bool:
        """Whether a process may have ended of it: it runs alone."""
        return self.deaths > 0 or self.claimed.unanswered

    def recorded(self, queue: str) -> AbstractContextManager[Any]:
        """Its step as a span, where spans are recorded; gives what `span` is."""
        return spans.stepping(queue, self.token.msg_id, self.key, self.claimed.headers)

    @property
    def asked(self) -> Asked | None:
        """Who asked, and in which role; None where a worker or the owner of the tables has sent it."""
        return asked(self.claimed.headers)

    @property
    def contract(self) -> int:
        """The version of the contract that its sender knew; 0 where it does not say."""
        headers = self.claimed.headers
        return _count(headers.get(CONTRACT_HEADER)) if isinstance(headers, dict) else 0

    def headers(self, *, attempts: int | None = None, released: int | None = None, waits_for: str = "") -> Json:
        """The headers to go on with: everybody else's, and our counts; also what it `waits_for` outside."""
        past = {
            "attempts": self.attempts if attempts is None else attempts,
            "released": self.released if released is None else released,
            "sent_at": self.sent_at.isoformat(),
        }
        if self.deaths:
            past["begun"] = self.deaths
        if self.claimed.unanswered and not self.begun:
            # It has not been looked at since.
            past["claim"] = self.claimed.mark
        if waits_for:
            # With its count of claims as it was then, it is known whether somebody has it in hand again.
            past |= {"waits_for": waits_for, "held": self.held + 1, "read": self.token.read_ct}
        return self._with_ours(past)

    def fresh_headers(self) -> Json:
        """The headers of the message that replaces it: nothing of its past counts any more."""
        return self._with_ours({"attempts": 0, "released": 0, "sent_at": self.sent_at.isoformat()})

    def begun_headers(self) -> Json:
        """The headers while a step is at work."""
        ours = {**self.headers()[OURS], "claim": self.claimed.mark, "begun": self.deaths + 1}
        return self._with_ours(ours)

    def _with_ours(self, ours: Json) -> Json:
        theirs = self.claimed.headers if isinstance(self.claimed.headers, dict) else {}
        return {**theirs, OURS: ours}


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1_000_000 else 0


def _sent_at(ours: Json, enqueued_at: datetime) -> datetime:
    """A message that has waited is sent again: it was first sent before it was enqueued, in years that all can read."""
    return min(max(_time(ours.get("sent_at")) or enqueued_at, OLDEST), enqueued_at)


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time if time and time.tzinfo else None
