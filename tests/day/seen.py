"""What is seen of a day while it goes on: what those who wait are told, and why a promise has moved."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pgfleet.schema.line.asking import ask_line, standing_in
from pgfleet.schema.line.standing import Standing
from pgfleet.schema.line.unit import Unit
from worlds.fleet import Connection

# As `place` tells it to so many.
TOLD = 50
# Promises are written to the second, and what is late is so by whole ticks.
A_MOMENT = timedelta(seconds=150)


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


@dataclass(slots=True)
class Promise:
    """A start as it was written down: then nodes that work had so many GPUs, and GPUs were to end then.

    Attributes:
        fewest: how few those nodes have had since.
        is_blind: it was written while nodes were not seen, or since then some have had pods that were gone, as the
            watch was cut off: the plan can't count on their GPUs.
    """

    at: datetime
    gpus: int
    fewest: int
    is_blind: bool
    ends: dict[str, datetime | None]
    has_bookings: bool

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


@dataclass(slots=True)
class Seen:
    """What was told to each unit first, and the promises of each type; of each that has moved, why.

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
    delayed: list[str] = field(default_factory=list)

    def look(self, gpu_type: str) -> None:
        if self.conn.execute(WAITS, (gpu_type,)).fetchone() == (False,) and not self.promises.get(gpu_type):
            return
        with self.conn.pipeline():
            answers = ask_line(self.conn, gpu_type, None)
        standing = standing_in(answers, self.grace_s)
        assert standing is not None
        self._tell(standing)
        before = set(self.promises.get(gpu_type, ()))
        self._compare(standing, self.promises.setdefault(gpu_type, {}))
        holders = {end.unit for end in standing.ends if end.unit is not None}
        new, self.had[gpu_type] = holders - self.had.get(gpu_type, holders), holders
        if standing.room.is_seen and not _has_gone_pods(standing):
            self._weigh(standing, new, before)

    def _weigh(self, standing: Standing, new: set[str], promised: set[str]) -> None:
        """Whether the head would start sooner if those had not that have started since the last look and came later."""
        head = next((unit for unit in standing.line if unit.promised is not None), None)
        if head is None or head.key not in promised or not new:
            return
        later = {str(row[0]) for row in self.conn.execute(CAME_LATER, (list(new), head.key))}
        with_them, without = (_earliest(each, head) for each in (standing, _without(standing, later)))
        if with_them is not None and without is not None and with_them > without + A_MOMENT.total_seconds():
            self.delayed.append(f"{head.key} by {with_them - without:.0f} s, for {sorted(later)}")

    def _compare(self, standing: Standing, known: dict[str, Promise]) -> None:
        ends = _ends(standing)
        self.ends |= ends
        is_blind = not standing.room.is_seen or _has_gone_pods(standing)
        gpus = sum(size for name, size in standing.room.sizes.items() if name not in standing.room.problems)
        now = {unit.key: unit.promised[0] for unit in standing.line if unit.promised is not None}
        for key, promise in list(known.items()):
            promise.fewest, promise.is_blind = min(promise.fewest, gpus), promise.is_blind or is_blind
            # Who has started has done so since the tick before.
            at = now.get(key) or (standing.now if key in ends else None)
            if at is None:
                del known[key]
                continue
            by = at - promise.at
            if by > A_MOMENT:
                self._note(key, promise, by)
            if by > A_MOMENT or key not in now:
                del known[key]
        for key in now.keys() - known.keys():
            known[key] = Promise(now[key], gpus, gpus, is_blind, ends, bool(standing.bookings))
        self.promised |= now.keys()

    def _note(self, key: str, promise: Promise, by: timedelta) -> None:
        why = promise.excuse(self.ends, by)
        (self.passed if why is None else self.moved).append(f"{key}, promised {promise.at}, {by} later: {why}")

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


def _has_gone_pods(standing: Standing) -> bool:
    """Whether nodes have less free than those who hold GPUs have of them."""
    room, taken = standing.room, Counter[str]()
    for end in standing.ends:
        if end.node is not None:
            taken[end.node] += end.gpus
    for gpus, node in room.placed:
        taken[node] += gpus
    return any(size - room.free.get(name, 0) > taken[name] for name, size in room.sizes.items())


def _earliest(standing: Standing, head: Unit) -> float | None:
    return standing.ground().promising(head, 0, standing.known(head)).sooner(head).promises[-1].at


def _without(standing: Standing, those: set[str]) -> Standing:
    """As if these had no GPUs."""
    room = standing.room
    free, placed, unheld = dict(room.free), list(room.placed), room.unheld
    for end in (each for each in standing.ends if each.unit in those):
        unheld += end.gpus
        node = end.node or next((name for gpus, name in placed if gpus == end.gpus), None)
        if (end.gpus, node) in placed:
            placed.remove((end.gpus, str(node)))
        if node in free:
            free[node] += end.gpus
    ends = tuple(end for end in standing.ends if end.unit not in those)
    return replace(standing, room=replace(room, unheld=unheld, free=free, placed=tuple(placed)), ends=ends)
