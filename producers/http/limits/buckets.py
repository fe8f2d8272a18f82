"""How often one may ask: a token bucket for each principal, and for each address that has not proven who it is.

What the answers say about it are the fields of draft-ietf-httpapi-ratelimit-headers-11.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock

from starlette.responses import Response

from pgfleet.producers.http.problem import problem

MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Policy:
    """`burst` requests at once, and `per_s` of them come back each second."""

    name: str
    per_s: float
    burst: int

    @property
    def window_s(self) -> int:
        """An empty bucket is full again after so long."""
        return max(1, math.ceil(self.burst / self.per_s))


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether a request may go on, and what is left after it."""

    policy: Policy
    allowed: bool
    left: int
    # How long there is none, where none is left.
    retry_after_s: int

    @property
    def headers(self) -> Mapping[str, str]:
        """For every answer to whoever asked, refused or not."""
        policy = self.policy
        limit = f'"{policy.name}";r={self.left}' + (f";t={self.retry_after_s}" if self.left == 0 else "")
        said = {"RateLimit-Policy": f'"{policy.name}";q={policy.burst};w={policy.window_s}', "RateLimit": limit}
        return said if self.allowed else {**said, "Retry-After": str(self.retry_after_s)}

    def refusal(self) -> Response | None:
        """The answer, where it may not go on."""
        if self.allowed:
            return None
        detail = f"{self.policy.burst} requests at once and {self.policy.per_s:g} a second are taken."
        return problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many-requests",
            detail,
            headers=self.headers,
            **{"violated-policies": [self.policy.name]},
        )


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of one policy, for all threads of a process. Whoever asked longest ago is forgotten first.

    A bucket that was forgotten is full. The ones that are forgotten have been left alone for longest, and are
    nearly full themselves.
    """

    policy: Policy
    clock: Callable[[], float] = time.monotonic
    most: int = MOST_BUCKETS
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def take(self, whose: str) -> Taken:
        """One request of somebody. What is refused costs nothing, so that asking again in time is enough."""
        with self._lock:
            bucket = self._filled(whose)
            allowed = bucket.left >= 1
            if allowed:
                bucket.left -= 1
            left = bucket.left
        wait_s = 0 if left >= 1 else max(1, math.ceil((1 - left) / self.policy.per_s))
        return Taken(self.policy, allowed, math.floor(left), wait_s)

    def __len__(self) -> int:
        return len(self._buckets)

    def _filled(self, whose: str) -> _Bucket:
        now = self.clock()
        bucket = self._buckets.get(whose)
        if bucket is None:
            bucket = self._buckets[whose] = _Bucket(float(self.policy.burst), now)
            if len(self._buckets) > self.most:
                self._buckets.popitem(last=False)
            return bucket
        self._buckets.move_to_end(whose)
        bucket.left = min(float(self.policy.burst), bucket.left + max(0.0, now - bucket.at) * self.policy.per_s)
        bucket.at = now
        return bucket
