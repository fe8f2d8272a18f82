"""How many GPUs of one place are free from when on: steps, in seconds from now."""

from bisect import bisect_left, bisect_right
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


def taken(steps: Steps, start: float, end: float, gpus: int) -> Steps:
    """With so many fewer in that time."""
    first, after_start = bisect_left(steps, (start,)), bisect_right(steps, (start, inf))
    last, after_end = bisect_left(steps, (end,)), bisect_right(steps, (end, inf))
    within = [(at, free - gpus) for at, free in steps[after_start:last]]
    until = () if end == inf else ((end, steps[after_end - 1][1]),)
    return (*steps[:first], (start, steps[after_start - 1][1] - gpus), *within, *until, *steps[after_end:])


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
