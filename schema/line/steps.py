"""How many GPUs of one place are free from when on: steps, in seconds from now."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from math import inf
from typing import TypeAlias

# (from, free), the first from 0 on, each until the next.
Steps: TypeAlias = tuple[tuple[float, int], ...]


def rising(free: int, ends: Iterable[tuple[float, int]]) -> Steps:
    """So many are free now; each of the ends, given in order, frees some more."""
    made = [(0.0, free)]
    for at, gpus in ends:
        free += gpus
        if made[-1][0] == at:
            made.pop()
        made.append((at, free))
    return tuple(made)


def _free_at(steps: Steps, at: float) -> int:
    return steps[bisect_right(steps, (at, inf)) - 1][1]


def taken(steps: Steps, start: float, end: float, gpus: int) -> Steps:
    """With so many fewer in that time."""
    before = [step for step in steps if step[0] < start]
    within = [(at, free - gpus) for at, free in steps if start < at < end]
    after = [step for step in steps if step[0] > end]
    last = [] if end == inf else [(end, _free_at(steps, end))]
    return (*before, (start, _free_at(steps, start) - gpus), *within, *last, *after)


def least(steps: Steps, start: float, end: float) -> int:
    """The fewest that are free at any moment of that time."""
    first = bisect_right(steps, (start, inf)) - 1
    lowest = steps[first][1]
    for at, free in steps[first + 1 :]:
        if at >= end:
            break
        lowest = min(lowest, free)
    return lowest


def openings(steps: Steps, gpus: int, length: float, earliest: float) -> Iterator[float]:
    """From when on so many are free for so long, not before `earliest`: the first moment of each such time."""
    begins: float | None = None
    for (at, free), until in zip(steps, [*(at for at, _ in steps[1:]), inf], strict=True):
        if free < gpus:
            if begins is not None and at - begins >= length:
                yield begins
            begins = None
        elif begins is None and until > earliest:
            begins = max(at, earliest)
    if begins is not None:
        yield begins
