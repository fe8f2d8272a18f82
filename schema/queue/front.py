"""From where on a claim looks for messages that are due: past what it has found dead, where that has taken long.

Dead entries stay at the front of a queue's index while somebody's old transaction holds back the vacuum, and each claim
would walk over all of them. A claim that has taken long is followed by some that begin where it has found the first
message. What has come before that place meanwhile, as its sender committed late, is found by the next one that looks
from the front: those take a twentieth of the time, and one comes after LONGEST_S at most.
"""

from dataclasses import dataclass

# What a claim may take before it matters from where it looks.
LONG_S = 0.002
SHARE, LONGEST_S = 20, 1.0
# A sender's transaction may last so long that it is committed after what is due later: it is found all the same.
MARGIN_S = 0.25
# A message may be due since before all times that the database can reckon with.
FURTHEST_S = 365 * 86_400.0


@dataclass(slots=True)
class Front:
    """Where claims of one process begin, until when. Times are of its monotonic clock, in seconds."""

    place_at: float = 0.0
    until: float = 0.0

    def since_s(self, now: float) -> float | None:
        """How many seconds before `now` messages were due that are looked at; None: all of them are."""
        return min(now - self.place_at + MARGIN_S, FURTHEST_S) if now < self.until else None

    def looked(self, began: float, ended: float, first_due_at: float | None) -> None:
        """A claim has looked at all, and the first message that it found was due then; None: it found none."""
        took_s = ended - began
        self.place_at = began if first_due_at is None else min(first_due_at, began)
        self.until = ended + min(took_s * SHARE, LONGEST_S) if took_s > LONG_S else 0.0
