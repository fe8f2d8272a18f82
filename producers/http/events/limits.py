"""How much the hub takes upon itself, and how a stream behaves in time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the hub takes upon itself.

    Attributes:
        streams, waiters: how many there may be at once.
        queued: how many events may wait for one subscriber.
        page: how many moves are looked at in one go.
        threads: how many read pages for those who come back, and ask whether somebody may still listen.
    """

    streams: int = 1_000
    waiters: int = 1_000
    queued: int = 1_000
    page: int = 500
    threads: int = 2


BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Pace:
    """How a stream behaves in time.

    Attributes:
        beat_s: a comment after so long without an event.
        check_s: how often the principal is looked at anew; one that can't be for `unchecked_s` counts as refused.
        life_s: how long a stream lasts, give or take a tenth, so that not all come back at once.
        retry_ms: after how long a client is to come back.
    """

    beat_s: float = 15.0
    check_s: float = 25.0
    unchecked_s: float = 55.0
    life_s: float = 3600.0
    retry_ms: int = 2000


PACE = Pace()
