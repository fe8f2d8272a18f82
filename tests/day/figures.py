"""The day in figures: waits by size, use beside a bound that nobody can beat, and how far off what was told was."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from day.seen import Seen
from pgfleet.console.simulate.line.outcome import as_it_was, simulated, waits_of
from pgfleet.console.simulate.line.past import History, Past
from pgfleet.console.simulate.reservations import span

HOUR = timedelta(hours=1)
BEGIN, END = "<!-- The day: written by `make day-test` -->\n", "<!-- The end of the day -->\n"


def within(history: History, since: datetime, hours: float) -> History:
    """The same, of so many hours."""
    return replace(history, since=since, now=since + timedelta(hours=hours))


def bound(history: History) -> float:
    """The part of all GPUs that the best of all plans could use: as if any reservation could have any part of any GPU.

    What comes is done as fast as all GPUs together can; nothing is done before it comes.
    """
    total, done, left, at = history.fleet.total, 0.0, 0.0, history.since
    coming = sorted((past.waits_from, history.held(past) / HOUR * past.unit.total) for past in got(history))
    for moment, hours in [*coming, (history.now, 0.0)]:
        now = min(moment, history.now)
        step = min(left, max((now - at) / HOUR, 0) * total)
        done, left, at = done + step, left - step + hours, max(now, at)
    return done / ((history.now - history.since) / HOUR * total)


def got(history: History) -> Iterator[Past]:
    return (past for past in history.units if past.admitted_at is not None)


def waits(histories: Iterable[History]) -> Iterator[str]:
    by_size: dict[tuple[int, int], list[float]] = defaultdict(list)
    for past in (past for history in histories for past in got(history)):
        assert past.admitted_at is not None
        waited = max((past.admitted_at - past.waits_from).total_seconds(), 0)
        by_size[past.unit.nodes, past.unit.gpus].append(waited)
    yield "| GPUs | reservations that got them | half waited at most (h:mm) | 95 of 100 | the longest |"
    yield "|---|---|---|---|---|"
    for (nodes, gpus), found in [
        *sorted(by_size.items()),
        ((0, 0), [each for all_ in by_size.values() for each in all_]),
    ]:
        told = waits_of(sorted(found))
        size = "all" if not nodes else str(gpus) if nodes == 1 else f"{nodes} nodes of {gpus}"
        numbers = (told.p50_s, told.p95_s, told.max_s)
        yield f"| {size} | {told.number} | {' | '.join(span(each or 0) for each in numbers)} |"


def use(histories: Mapping[str, History]) -> Iterator[str]:
    yield "| type | GPUs | used | used, as the line alone is simulated | no plan could use more than |"
    yield "|---|---|---|---|---|"
    for name, history in histories.items():
        shares = (as_it_was(history).used, simulated(history, history.fleet).used, bound(history))
        yield f"| {name} | {history.fleet.total} | {' | '.join(f'{share:.1%}' for share in shares)} |"


@dataclass(frozen=True, slots=True)
class Told:
    """Minutes by which those who were told a start when they came got GPUs later; less is sooner."""

    errors: Sequence[float]

    def __str__(self) -> str:
        later = [error for error in self.errors if error > 5]
        if not self.errors:
            return "Nobody had to be told when they start."
        return (
            f"Of {len(self.errors)} that were told a start when they came, half were off by at most "
            f"{median(map(abs, self.errors)):.0f} min; {len(later) / len(self.errors):.0%} started more than 5 min "
            f"later, and 95 of 100 of all at most {waits_of(sorted(self.errors)).p95_s or 0:.0f} min later."
        )


def told(seen: Seen, histories: Iterable[History]) -> Told:
    admitted = {past.unit.key: past.admitted_at for history in histories for past in got(history)}
    return Told(
        [
            (at - seen.told[key]) / timedelta(minutes=1)
            for key, at in admitted.items()
            if at is not None and key in seen.told
        ]
    )


def write_into(page: Path, lines: Iterable[str]) -> None:
    """Between the two markers of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after, encoding="utf-8")
