"""Whether a queue takes more: what would only wait is refused while whoever asks can still hear of it."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Condition

import psycopg
import structlog
from starlette.responses import Response

from pgfleet.producers.http.problem import problem

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LOOK_EVERY_S = 1.0
# What was seen last is believed for so long where the database does not answer.
BELIEVED_S = 10.0
# Who is the first to ask, or the first after a while, waits for the database, at most so long.
FIRST_S = 5.0
AWAY_RETRY_S = 5
LEAST_RETRY_S, MOST_RETRY_S = 5, 300


@dataclass(frozen=True, slots=True)
class Fill:
    """What of a queue is due and waits."""

    waiting: int
    oldest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """Why nothing is taken now, and when to ask again."""

    status: HTTPStatus
    slug: str
    detail: str
    retry_after_s: int

    def response(self) -> Response:
        return problem(self.status, self.slug, self.detail, headers={"Retry-After": str(self.retry_after_s)})


@dataclass(slots=True)
class _Seen:
    fills: Mapping[str, Fill] | None = None
    at: float = -math.inf
    looked_at: float = -math.inf
    looking: bool = False
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Fullness:
    """How full the queues are, as seen at most a second ago; `look` asks the database, once for all threads.

    `look` may raise an error of psycopg: then the last answer is believed for a while.
    """

    look: Callable[[], Mapping[str, Fill]]
    most_waiting: int
    oldest_s: float
    clock: Callable[[], float] = time.monotonic
    _seen: _Seen = field(default_factory=_Seen, init=False, repr=False)
    _changed: Condition = field(default_factory=Condition, init=False, repr=False)

    def refused(self, queue: str) -> Refused | None:
        """Why the queue takes nothing now; None where it does. Only the first of all waits for the database."""
        fills, age_s = self._fills()
        if fills is None or age_s > BELIEVED_S:
            detail = "The database does not say how full its queues are; nothing was taken."
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "database-away", detail, AWAY_RETRY_S)
        return self._too_full(queue, fills.get(queue, Fill(0)))

    def _too_full(self, queue: str, fill: Fill) -> Refused | None:
        if fill.waiting > self.most_waiting:
            why = f"{fill.waiting:,} messages wait in {queue}, and {self.most_waiting:,} may"
        elif fill.oldest_s > self.oldest_s:
            why = (
                f"The oldest message in {queue} has waited for {fill.oldest_s:.0f} s, and {self.oldest_s:.0f} s it may"
            )
        else:
            return None
        # Of what is too much, a tenth may be done by then: nobody knows, so all ask again at different times.
        again_s = min(MOST_RETRY_S, max(LEAST_RETRY_S, math.ceil(fill.oldest_s / 10)))
        return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too-full", f"{why}; nothing was taken.", again_s)

    def _fills(self) -> tuple[Mapping[str, Fill] | None, float]:
        """What was seen last, and how long ago."""
        seen = self._seen
        with self._changed:
            # After a quiet time, too, in which nobody looked: who comes second believes what the first one will see.
            if seen.looking and self.clock() - seen.at > BELIEVED_S:
                self._changed.wait_for(lambda: not seen.looking, FIRST_S)
            mine = not seen.looking and self.clock() - seen.looked_at >= LOOK_EVERY_S
            if mine:
                seen.looking, seen.looked_at = True, self.clock()
        if mine:
            self._look()
        with self._changed:
            return seen.fills, self.clock() - seen.at

    def _look(self) -> None:
        seen, fills, trouble = self._seen, None, None
        try:
            fills = self.look()
        except psycopg.Error as error:
            trouble = type(error).__name__
        finally:
            with self._changed:
                before, seen.trouble = seen.trouble, trouble
                if fills is not None:
                    seen.fills, seen.at = fills, self.clock()
                seen.looking = False
                self._changed.notify_all()
        # Once, and not each second.
        if trouble is not None and before is None:
            log.warning("fullness.unseen", error=trouble)
