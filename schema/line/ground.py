"""What is free, what is promised of it, and what is free beside that."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from pgfleet.schema.line.timeline import MOMENT_S, Timeline
from pgfleet.schema.line.unit import Pace, Unit

# When, in seconds from now, and on which nodes.
Spot: TypeAlias = tuple[float, tuple[str, ...]]
ROUNDED_S = 0.001


@dataclass(frozen=True, slots=True)
class Promise:
    """When a unit starts at the latest, in seconds from now, and where; `at` is None where it never does."""

    unit: Unit
    not_before: float
    at: float | None = None
    spots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ground:
    """What is free; `spare` is what is free beside the promises."""

    free: Timeline
    pace: Pace
    promises: tuple[Promise, ...] = ()
    spare: Timeline | None = None

    @property
    def beside(self) -> Timeline:
        return self.free if self.spare is None else self.spare

    def promising(self, unit: Unit, not_before: float = 0, known: Spot | None = None) -> "Ground":
        """With a promise more: as it is known, if that can be kept; else for as soon as others leave room."""
        kept = self.as_known(unit, not_before, known)
        if kept is not None:
            return kept
        found = self.beside.earliest(unit, self.pace.length_s(unit), not_before)
        if found is None:
            return replace(self, promises=(*self.promises, Promise(unit, not_before)))
        return self._with(unit, not_before, found)

    def as_known(self, unit: Unit, not_before: float, known: Spot | None) -> "Ground | None":
        """With a promise as it is known, where it can be kept; times that were added up may differ by a rounding."""
        if known is None:
            return None
        length = self.pace.length_s(unit)
        near = (known[0], known[0] + ROUNDED_S)
        at = next((at for at in near if self.beside.has_room(unit, known[1], at, length)), None)
        return None if at is None else self._with(unit, not_before, (at, known[1]))

    def _with(self, unit: Unit, not_before: float, spot: Spot) -> "Ground":
        at, spots = spot
        spare = self.beside.without(unit, spots, at, self.pace.length_s(unit))
        return replace(self, promises=(*self.promises, Promise(unit, not_before, at, spots)), spare=spare)

    def releasing(self, key: str) -> "Ground":
        """Without the promise to a unit, if there is one; the others as they are."""
        if all(promise.unit.key != key for promise in self.promises):
            return self
        others = tuple(promise for promise in self.promises if promise.unit.key != key)
        return promised(Ground(self.free, self.pace), others)

    def sooner(self, unit: Unit) -> "Ground":
        """With the promise to a unit as soon as it is possible now."""
        mine = next(promise for promise in self.promises if promise.unit.key == unit.key)
        again = self.releasing(unit.key).promising(unit, mine.not_before)
        return again if is_later(again.promises[-1], mine) or mine.at is None else self

    def begun(self, promise: Promise) -> "Ground":
        """After a promise that is due was kept."""
        free = self.free.without(promise.unit, promise.spots, 0, self.pace.length_s(promise.unit))
        others = tuple(each for each in self.promises if each is not promise)
        return replace(self, free=free, promises=others, spare=self.spare if others else None)

    def with_start(self, unit: Unit, spots: tuple[str, ...]) -> "Ground | None":
        """After a unit has started there now; None where it would move a promise."""
        length = self.pace.length_s(unit)
        free = self.free.without(unit, spots, 0, length)
        if not self.promises:
            return replace(self, free=free)
        if self.beside.has_room(unit, spots, 0, length):
            return replace(self, free=free, spare=self.beside.without(unit, spots, 0, length))
        return self.keeping(free)

    def keeping(self, free: Timeline) -> "Ground | None":
        """The same promises where other GPUs are free; None where one of them would be moved."""
        again = promised(Ground(free, self.pace), self.promises)
        return None if any(map(is_later, self.promises, again.promises)) else again


def is_later(before: Promise, after: Promise) -> bool:
    return before.at is not None and (after.at is None or after.at > before.at + MOMENT_S)


def promised(ground: Ground, promises: Iterable[Promise]) -> Ground:
    """With these promises given anew, one after the other: as they are, where that is possible."""
    for promise in promises:
        known = None if promise.at is None else (promise.at, promise.spots)
        ground = ground.promising(promise.unit, promise.not_before, known)
    return ground
