"""Fewer steps that still fail: halves are left out, then quarters, and so on down to single steps."""

import time
from collections.abc import Callable, Sequence

from hunt.known import Step


def shrunk(steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool], within_s: float) -> list[Step]:
    """As few as are found in that time."""
    deadline, few, size = time.monotonic() + within_s, list(steps), max(len(steps) // 2, 1)
    while size and time.monotonic() < deadline:
        at = 0
        while at < len(few) and time.monotonic() < deadline:
            fewer = few[:at] + few[at + size :]
            if fewer and fails(fewer):
                few = fewer
            else:
                at += size
        size //= 2
    return few
