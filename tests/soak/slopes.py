"""Whether what was measured again and again has stayed where it was: Theil-Sen slopes, and how far each may go."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isinf
from statistics import median

# (seconds since the beginning, what was measured)
Points = Sequence[tuple[float, float]]


def slope(points: Points) -> float:
    """The median of the slopes between all pairs: a few odd measurements change nothing."""
    slopes = [(b - a) / (then - when) for (when, a), (then, b) in combinations(points, 2) if then > when]
    return median(slopes) if slopes else 0.0


@dataclass(frozen=True)
class Bound:
    """What the slope may add over the whole run: the larger of a share of what is usual, and so much.

    Attributes:
        of: what it is about; the first whose pattern is found in a name counts.
        unit: what the number is, for the table.
        least: infinite for what may grow.
    """

    of: str
    unit: str
    share: float
    least: float

    def most(self, usual: float) -> float:
        return max(self.share * abs(usual), self.least)


@dataclass(frozen=True)
class Trend:
    """One measure over the run: the first and the last of its line, its usual value, and what it may add."""

    name: str
    unit: str
    usual: float
    highest: float
    added: float
    most: float

    @property
    def is_flat(self) -> bool:
        return self.added <= self.most


def trend(name: str, points: Points, bound: Bound) -> Trend:
    """Only growth counts: what becomes less is never too much."""
    values = [value for _, value in points]
    usual = median(values)
    span = points[-1][0] - points[0][0]
    return Trend(name, bound.unit, usual, max(values), slope(points) * span, bound.most(usual))


def trends(measured: Mapping[str, Points], bounds: Iterable[Bound]) -> Iterator[Trend]:
    """Of all measures that a bound is about, in the order of their names."""
    known = list(bounds)
    for name, points in sorted(measured.items()):
        bound = next((each for each in known if re.search(each.of, name)), None)
        if bound is not None and not isinf(bound.least) and len(points) >= 3:
            yield trend(name, points, bound)
