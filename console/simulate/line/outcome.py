"""What came of a line, really or simulated: waits by size, and how much of the fleet was used."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from pgfleet.console.simulate.line.engine import Fleet, SimulatedLine
from pgfleet.console.simulate.line.past import History, Past

# GPUs of a node, and nodes.
Size = tuple[int, int]
# From when to when somebody had GPUs.
Span = tuple[datetime, datetime]
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Waits:
    """Of `number` that got GPUs, for how long they waited; `without` got none."""

    number: int
    p50_s: float | None
    p95_s: float | None
    max_s: float | None
    without: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`used` is the part of all GPUs that somebody had, from the beginning of the history to its end."""

    total: int
    used: float
    sizes: Mapping[Size, Waits]
    all_sizes: Waits

    def as_json(self) -> dict[str, Any]:
        sizes = [{"gpus": gpus, "nodes": nodes, **asdict(waits)} for (gpus, nodes), waits in sorted(self.sizes.items())]
        return {"gpus": self.total, "utilisation": round(self.used, 4), "all": asdict(self.all_sizes), "sizes": sizes}


def as_it_was(history: History) -> Outcome:
    spans = {
        past.unit.key: (past.admitted_at, past.admitted_at + history.held(past))
        for past in history.units
        if past.admitted_at is not None
    }
    return _outcome(history, history.fleet, spans)


def simulated(history: History, fleet: Fleet) -> Outcome:
    """The same reservations on this fleet: each comes when it came, and has its GPUs for as long as it had."""
    line = SimulatedLine(fleet, history.since, history.pace, history.starving_after)
    line.run(history.arrivals())
    spans = {key: (at, at + line.known[key].held) for key, at in line.started.items()}
    return _outcome(history, fleet, spans)


def _outcome(history: History, fleet: Fleet, spans: Mapping[str, Span]) -> Outcome:
    counted = history.counted
    by_size: dict[Size, list[Past]] = defaultdict(list)
    for past in counted:
        by_size[past.unit.gpus, past.unit.nodes].append(past)
    return Outcome(
        total=fleet.total,
        used=_gpu_hours(history, spans) / ((history.now - history.since) / HOUR * fleet.total),
        sizes={size: _waits(pasts, spans) for size, pasts in by_size.items()},
        all_sizes=_waits(counted, spans),
    )


def _gpu_hours(history: History, spans: Mapping[str, Span]) -> float:
    """Those in the time of the history."""
    units = {past.unit.key: past.unit.total for past in history.units}
    within = (
        (units[key], min(until, history.now) - max(since, history.since)) for key, (since, until) in spans.items()
    )
    return sum(max(span / HOUR, 0) * gpus for gpus, span in within)


def _waits(pasts: Sequence[Past], spans: Mapping[str, Span]) -> Waits:
    got = [past for past in pasts if past.unit.key in spans]
    waits = sorted(max((spans[past.unit.key][0] - past.waits_from).total_seconds(), 0) for past in got)
    return waits_of(waits, len(pasts) - len(waits))


def waits_of(waits: Sequence[float], without: int = 0) -> Waits:
    """Of waits in seconds, the shortest first."""
    if not waits:
        return Waits(0, None, None, None, without)
    return Waits(len(waits), _quantile(waits, 0.5), _quantile(waits, 0.95), waits[-1], without)


def _quantile(ordered: Sequence[float], part: float) -> float:
    """The least that so large a part does not exceed."""
    return ordered[max(ceil(len(ordered) * part), 1) - 1]
