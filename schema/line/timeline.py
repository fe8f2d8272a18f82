"""What is free when, on each node and in all, and where a unit finds its GPUs."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from math import inf
from operator import itemgetter
from typing import NamedTuple

from pgfleet.schema.line.steps import Steps, least, openings, rising, taken
from pgfleet.schema.line.unit import Unit
from pgfleet.schema.room import Room

# Where nodes are not known, all GPUs of a type are as if on one.
ANYWHERE = ""
# What is over and not free yet may be so at any moment, and is not now.
SOON_S = 1.0
# What differs by less is the same.
MOMENT_S = 0.5


class End(NamedTuple):
    """GPUs that will be free; `unit` has them.

    Attributes:
        at: None where nobody knows when.
        node: None where its pod is on none yet; empty where it is on none any more: only the total will rise.
        kept_to: the node that such a pod is for, if it is for one.
    """

    at: datetime | None
    gpus: int
    node: str | None = None
    unit: str | None = None
    kept_to: str | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Free GPUs, in seconds from now. `total` bounds them all: the operator may have said less than nodes have."""

    total: Steps
    nodes: Mapping[str, Steps]
    zones: Mapping[str, str | None]
    sizes: Mapping[str, int]
    most: int

    def could_hold(self, unit: Unit) -> bool:
        """Whether a unit would find GPUs if nobody else had any."""
        places = sum(self._times(name, size, unit) for name, size in self.sizes.items() if name in self.nodes)
        return not unit.gpus or (places >= unit.nodes and unit.total <= self.most)

    def fits_now(self, unit: Unit) -> bool:
        """Whether enough is free now, whatever it is kept for."""
        return self.likely_spots(unit) is not None

    def likely_spots(self, unit: Unit) -> tuple[str, ...] | None:
        """Where the scheduler would put it now: one by one to where most is free; a gang where it fits together."""
        if not unit.gpus or unit.nodes > 1:
            return self.spots(unit, 0, MOMENT_S)
        name = max(self.nodes, key=lambda name: self.nodes[name][0][1], default=None)
        if name is None or min(self.nodes[name][0][1], self.total[0][1]) < unit.gpus:
            return None
        return (name,)

    def each_spot_now(self, unit: Unit) -> Iterator[tuple[str, ...]]:
        """The nodes that have enough free now; of those that are alike, one."""
        alike = {steps: name for name, steps in self.nodes.items() if steps[0][1] >= unit.gpus}
        return ((name,) for name in sorted(alike.values()))

    def has_room(self, unit: Unit, spots: tuple[str, ...], start: float, length: float) -> bool:
        """Whether these nodes have enough for all of that time."""
        if not unit.gpus:
            return True
        each = Counter(spots).items()
        end = start + length
        return least(self.total, start, end) >= unit.total and all(
            name in self.nodes and least(self.nodes[name], start, end) >= unit.gpus * number for name, number in each
        )

    def spots(self, unit: Unit, start: float, length: float) -> tuple[str, ...] | None:
        """The nodes where a unit finds its GPUs for so long, one for each of its own; those that it fills best.

        What is over and not free yet may stay so: nodes that are free already come first.
        """
        if not unit.gpus:
            return (ANYWHERE,) * unit.nodes
        end = start + length
        if least(self.total, start, end) < unit.total:
            return None
        left = {name: least(steps, start, end) for name, steps in self.nodes.items()}
        over = {name for name in left if start <= SOON_S and self.nodes[name][0][1] < unit.gpus}
        fitting = sorted((name in over, free, name) for name, free in left.items() if free >= unit.gpus)
        if unit.nodes == 1:
            return (fitting[0][2],) if fitting else None
        zones = sorted({self._zone(name) for _, _, name in fitting})
        found = [names for zone in zones if (names := self._together(unit, fitting, zone)) is not None]
        return min(found, key=lambda names: len(over.intersection(names)), default=None)

    def _together(self, unit: Unit, fitting: list[tuple[bool, int, str]], zone: str) -> tuple[str, ...] | None:
        """The nodes of a gang are different machines of one zone, where machines are known."""
        each = ([name] * self._times(name, free, unit) for _, free, name in fitting if self._zone(name) == zone)
        names = tuple(chain(*each))[: unit.nodes]
        return names if len(names) == unit.nodes else None

    def _times(self, node: str, free: int, unit: Unit) -> int:
        """How many nodes of a gang find their GPUs there."""
        return free // unit.gpus if node == ANYWHERE else int(free >= unit.gpus)

    def _zone(self, node: str) -> str:
        return self.zones.get(node) or ""

    def earliest(self, unit: Unit, length: float, not_before: float = 0) -> tuple[float, tuple[str, ...]] | None:
        """When a unit finds its GPUs first, and on which nodes; None where it never does, as far as is known."""
        for at in self._moments(unit, length, not_before):
            spots = self.spots(unit, at, length)
            if spots is not None:
                return at, spots
        return None

    def _moments(self, unit: Unit, length: float, not_before: float) -> Iterator[float]:
        """When it may be that it fits, in order: from no other moment on is more free for so long."""
        if not unit.gpus:
            return iter((not_before,))
        each = (openings(steps, unit.gpus, length, not_before) for steps in self.nodes.values())
        in_all = openings(self.total, unit.total, length, not_before)
        return iter(sorted({*chain(*each), *in_all}))

    def without(self, unit: Unit, spots: Iterable[str], start: float, length: float) -> "Timeline":
        """With a unit on these nodes for so long."""
        if not unit.gpus:
            return self
        nodes = dict(self.nodes)
        for name in spots:
            nodes[name] = taken(nodes[name], start, start + length, unit.gpus)
        total = nodes.get(ANYWHERE) or taken(self.total, start, start + length, unit.total)
        return replace(self, total=total, nodes=nodes)


def timeline(room: Room, ends: Sequence[End], now: datetime) -> Timeline:
    """What is free now, and will be by these ends; those of which nobody knows when are not counted."""
    most = room.unheld + sum(end.gpus for end in ends)
    known = [
        (max((end.at - now).total_seconds(), 0) or SOON_S, end, node)
        for end, node in placed(room, ends)
        if end.at is not None and end.gpus
    ]
    known.sort(key=itemgetter(0))
    total = rising(room.unheld, [(at, end.gpus) for at, end, _ in known])
    if not room.is_seen:
        return Timeline(total, {ANYWHERE: total}, {}, {ANYWHERE: most}, most)
    on_node: dict[str | None, list[tuple[float, int]]] = defaultdict(list)
    for at, end, node in known:
        on_node[node].append((at, end.gpus))
    usable = {name: free for name, free in room.free.items() if name not in room.problems}
    nodes = {name: rising(free, on_node[name]) for name, free in usable.items()}
    for at, end, node in known:
        nodes |= _where_it_will_be(nodes, end, at) if node is None else {}
    return Timeline(total, nodes, room.zones, room.sizes, most)


def _where_it_will_be(nodes: Mapping[str, Steps], end: End, until: float) -> dict[str, Steps]:
    """The node of a pod for which none has room now, with it: it gets the first GPUs that are free, before any line."""
    found = (
        (next(openings(steps, end.gpus, MOMENT_S, 0), inf), name)
        for name, steps in nodes.items()
        if end.kept_to in (None, name)
    )
    at, name = min(found, default=(inf, ANYWHERE))
    return {name: taken(nodes[name], at, until, end.gpus)} if at < until else {}


def placed(room: Room, ends: Sequence[End]) -> Iterator[tuple[End, str | None]]:
    """Ends with their nodes. A pod that is on none yet is where the room has placed it; None where it has not."""
    places = list(room.placed)
    for end in sorted(ends, key=lambda end: end.kept_to is None):
        node = end.node
        if node is None:
            place = next((each for each in places if each == (end.gpus, end.kept_to or each[1])), None)
            if place is not None:
                places.remove(place)
                node = place[1]
        yield end, node
