"""What is seen of a day while it goes on: what those who wait are told, and why a promise has moved."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pgfleet.schema.line.asking import ask_lines, standings_in
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.timeline import placed
from pgfleet.schema.line.unit import Unit
from worlds.fleet import Connection

# As `place` tells it to so many.
TOLD = 50
# Promises are written to the second, and what is late is so by whole ticks of two minutes: one until an end is seen,
# and for who starts one more, until the scheduler had chosen the nodes of those who go first.
A_MOMENT = timedelta(seconds=150)
STARTED = timedelta(seconds=270)


WAITS = """
select exists (
  select from public.reservations where gpu_type = %s and status in ('pending', 'queued') and gpu_count is not null)
"""
# Those that are booked go ahead.
CAME_LATER = """
select r.reservation_id from public.reservations r
where r.reservation_id = any(%s) and r.start_at is null
  and r.waiting_since > (select h.waiting_since from public.reservations h where h.reservation_id = %s)
"""
GOES_BEFORE = """
select exists (
  select from public.reservations h join public.reservations r on r.reservation_id <> h.reservation_id
  where h.reservation_id = %s and r.reservation_id = any(%s)
    and (r.start_at is not null or h.start_at is null and r.waiting_since < h.waiting_since))
"""


@dataclass(slots=True)
class Promise:
    """A start as it was written down: then nodes that work had so many GPUs, and GPUs were to end then.

    Attributes:
        fewest: how few those nodes have had since.
        is_blind: it was written while nodes were not seen, or they were not since.
        waited: who else stood in line then, or was booked.
        known: who had been seen until then.
        back: who has come back since, as their pods had found no node: known by then, and not in line.
    """

    at: datetime
    gpus: int
    fewest: int
    is_blind: bool
    ends: dict[str, datetime | None]
    waited: frozenset[str]
    known: frozenset[str]
    has_bookings: bool
    back: set[str] = field(default_factory=set)

    def excuse(self, ends: dict[str, datetime | None], by: timedelta) -> str | None:
        """Why it has moved so far: nodes were gone, or who has GPUs ends later; None where others went ahead."""
        if self.fewest < self.gpus:
            return "nodes were gone"
        if self.is_blind:
            return "what is on nodes was not known"
        pairs = [(at, ends[key]) for key, at in self.ends.items() if key in ends]
        if any(was is not None and now is None for was, now in pairs):
            return "nobody knows when an end is"
        latest = max((now - was for was, now in pairs if was is not None and now is not None), default=timedelta())
        is_late = latest > timedelta(seconds=1) and (self.has_bookings or by <= latest + A_MOMENT)
        return "an end was late" if is_late else None

    def note(self, waiting: set[str], holders: set[str]) -> None:
        """Who waits, and who has GPUs, at a look after it was written."""
        self.back |= (waiting | holders - self.ends.keys()) & self.known - self.waited


@dataclass(slots=True)
class Seen:
    """What was told to each unit first, and the promises of each type, to heads and bookings; why those have moved.

    `ends` are those that were seen last of everybody, of those too that have none any more.
    """

    conn: Connection
    grace_s: float
    ends: dict[str, datetime | None] = field(default_factory=dict)
    told: dict[str, datetime] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    promises: dict[str, dict[str, Promise]] = field(default_factory=dict)
    promised: set[str] = field(default_factory=set)
    moved: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    had: dict[str, set[str]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    delayed: list[str] = field(default_factory=list)

    def look(self, gpu_type: str) -> None:
        if self.conn.execute(WAITS, (gpu_type,)).fetchone() == (False,) and not self.promises.get(gpu_type):
            return
        with self.conn.pipeline():
            answers = ask_lines(self.conn, [gpu_type], None)
        standing = standings_in(answers, self.grace_s)[gpu_type]
        self._tell(standing)
        late = self._compare(standing, self.promises.setdefault(gpu_type, {}))
        holders = {end.unit for end in standing.ends if end.unit is not None}
        new, self.had[gpu_type] = holders - self.had.get(gpu_type, holders), holders
        for key, why in late.items():
            self._weigh(standing, key, why, new)

    def _weigh(self, standing: Standing, key: str, why: str, new: set[str]) -> None:
        """Whether a head that starts later would not if those had no GPUs that got them in this look and came later."""
        head = next((unit for unit in standing.line if unit.key == key), None)
        if head is None or not new:
            return
        later = {str(row[0]) for row in self.conn.execute(CAME_LATER, (list(new), key))}
        with_them, without = (_earliest(each, head) for each in (standing, _without(standing, later)))
        if with_them is not None and without is not None and with_them > without + A_MOMENT.total_seconds():
            self.delayed.append(f"{why}; {with_them - without:.0f} s of it for {sorted(later)}")

    def _compare(self, standing: Standing, known: dict[str, Promise]) -> dict[str, str]:
        """Those whose promise has moved since it was best, with what is known of it."""
        ends = _ends(standing)
        self.ends |= ends
        seen_before = frozenset(self.seen)
        self.seen |= ends.keys() | {unit.key for unit in standing.units}
        is_blind = not standing.room.is_seen
        gpus = sum(size for name, size in standing.room.sizes.items() if name not in standing.room.problems)
        now = {unit.key: unit.promised[0] for unit in standing.units if unit.promised is not None}
        nowhere = {unit.key for unit in standing.units if unit.promised is not None and "" in unit.promised[1]}
        late = {}
        for key, promise in list(known.items()):
            promise.fewest, promise.is_blind = min(promise.fewest, gpus), promise.is_blind or is_blind
            promise.note({unit.key for unit in standing.units}, set(ends))
            waits = now.get(key)
            at = waits or (standing.now if key in ends else None)
            if at is not None and at - promise.at > (A_MOMENT if waits else STARTED):
                late[key] = self._note(key, promise, at - promise.at)
            if key in late or key not in now or now[key] < promise.at:
                del known[key]
        for key in now.keys() - known.keys():
            waited = frozenset(unit.key for unit in standing.units)
            blind, seen = is_blind or key in nowhere, seen_before | ends.keys()
            known[key] = Promise(now[key], gpus, gpus, blind, ends, waited, seen, bool(standing.bookings))
        self.promised |= now.keys()
        return late

    def _note(self, key: str, promise: Promise, by: timedelta) -> str:
        why = promise.excuse(self.ends, by)
        if why is None and self.conn.execute(GOES_BEFORE, (key, list(promise.back))).fetchone() == (True,):
            why = "who goes before it has come back"
        told = f"{key}, promised {promise.at}, {by} later: {why}"
        (self.passed if why is None else self.moved).append(told)
        return told

    def _tell(self, standing: Standing) -> None:
        """What those who are new in line are told of their start."""
        new = {unit.key for unit in standing.line} - self.asked
        if not new:
            return
        self.asked |= new
        for waits in standing.plan(TOLD).waiting:
            at = standing.at(waits.starts_in_s)
            if waits.unit.key in new and at is not None:
                self.told[waits.unit.key] = at


def _ends(standing: Standing) -> dict[str, datetime | None]:
    """When all GPUs of each unit are free; None where nobody knows."""
    found: dict[str, datetime | None] = {}
    for end in standing.ends:
        if end.unit is not None:
            before = found.get(end.unit, end.at)
            found[end.unit] = None if before is None or end.at is None else max(before, end.at)
    return found


def _earliest(standing: Standing, head: Unit) -> float | None:
    return standing.ground().promising(head, 0, standing.known(head)).sooner(head).promises[-1].at


def _without(standing: Standing, those: set[str]) -> Standing:
    """As if these had no GPUs."""
    room = standing.room
    free, left, unheld = dict(room.free), list(room.placed), room.unheld
    for end, node in placed(room, standing.ends):
        if end.unit not in those:
            continue
        unheld += end.gpus
        if end.node is None and node is not None:
            left.remove((end.gpus, node))
        if node in free:
            free[node] += end.gpus
    ends = tuple(end for end in standing.ends if end.unit not in those)
    return replace(standing, room=replace(room, unheld=unheld, free=free, placed=tuple(left)), ends=ends)
