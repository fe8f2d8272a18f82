"""Claims that this process has asked for and knows nothing of: it finds them by their marks, and gives them back."""

import time
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.queue.lost import give_back_claim

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# A commit may come after its connection has broken: it is looked for again, for as long as its lease would last.
LOOK_AGAIN_S = 1.0
# What could not be read is not asked for again at once.
UNREAD_PAUSE_S = 5.0


@dataclass(slots=True)
class LostClaim:
    mark: str
    asked_at: float
    pause: timedelta


@dataclass(slots=True)
class LostClaims:
    """Those of one queue; of one thread."""

    queue: str
    lease: timedelta
    claims: list[LostClaim] = field(default_factory=list)
    look_at: float = 0.0

    def add(self, mark: str, asked_at: float, *, answered: bool) -> None:
        """Note a claim that failed; where the server had `answered`, the answer could not be read."""
        pause = timedelta(seconds=UNREAD_PAUSE_S if answered else 0)
        self.claims.append(LostClaim(mark, asked_at, pause))
        self.look_at = 0.0

    def give_back(self, conn: Connection) -> None:
        """Give back what they have taken, at once and uncounted, if there is any."""
        now = time.monotonic()
        if not self.claims or now < self.look_at:
            return
        self.look_at = now + LOOK_AGAIN_S
        self.claims = [claim for claim in self.claims if now < claim.asked_at + self.lease.total_seconds()]
        for claim in list(self.claims):
            number = give_back_claim(conn, self.queue, claim.mark, self.lease, claim.pause)
            if number:
                self.claims.remove(claim)
                log.warning("claim.found", queue=self.queue, messages=number)
