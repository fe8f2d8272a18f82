"""A simulated fleet: which node reports what at which moment, as real nodes do. Pure: time is passed in, in seconds.

A node reports every interval at a phase of its own. Some die and never report again, some flap (silent, back, silent
again), some run another configuration. A heartbeat may be late (newer ones arrive first), repeated, lost, or an error.
Who does what depends on the seed alone, and each heartbeat's fate on the seed, its node and its number.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any
from uuid import UUID, uuid4

JITTER = 0.05  # of an interval, to both sides
SILENCE = 1.5  # offline limits that a flapping node is silent for
TALK = (0.5, 1.5)  # offline limits that it reports for, in between
LIFE = (0.1, 0.6)  # of the span, when the dying die
LATE = (1.2, 1.8)  # intervals that a late heartbeat is on its way
REPEATED = (0.0, 0.5)  # intervals until the same heartbeat comes again
WANDER_S = 300.0
ERROR = "disk_pressure: the pool's volume is 97 % full"


@dataclass(frozen=True, slots=True)
class Shares:
    """What part of the nodes (dying, flapping, drift) and of the heartbeats (all others) has each fault."""

    dying: float = 0.01
    flapping: float = 0.01
    late: float = 0.01
    duplicate: float = 0.01
    lost: float = 0.01
    errors: float = 0.01
    drift: float = 0.05


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is simulated; those who die do it in the middle of `span_s`, `offline_s` is the worker's limit."""

    nodes: int
    interval_s: float
    shares: Shares = Shares()
    span_s: float = 600
    offline_s: float = 300
    pools: int = 1
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Habit:
    """What a node does all its life. A flapping one reports, then is silent, again and again from `flaps_from` on."""

    phase: float
    dies_at: float = math.inf
    flaps_from: float = math.inf
    talk_s: float = 0
    silence_s: float = 0
    drifted: bool = False

    def speaks(self, at: float) -> bool:
        """Whether it reports at this moment."""
        if at >= self.dies_at:
            return False
        return at < self.flaps_from or (at - self.flaps_from) % (self.silence_s + self.talk_s) >= self.silence_s


@dataclass(frozen=True, slots=True, order=True)
class Beat:
    """A heartbeat that arrives. `repeat`: the same was sent before; `node` counts from 0."""

    arrives: float
    node: int
    number: int
    repeat: bool
    sent: float = field(compare=False)
    id: UUID = field(compare=False)
    error: bool = field(compare=False)


def habits(fleet: Fleet) -> list[Habit]:
    """One for each node. Nobody both dies and flaps."""
    chance = Random(f"{fleet.seed} habits")  # noqa: S311  # the same fleet for the same seed
    chosen = chance.sample(range(fleet.nodes), fleet.nodes)
    dying = min(fleet.nodes, round(fleet.shares.dying * fleet.nodes))
    flapping = round(fleet.shares.flapping * fleet.nodes)
    doomed, restless = set(chosen[:dying]), set(chosen[dying : dying + flapping])
    drifted = set(chance.sample(range(fleet.nodes), round(fleet.shares.drift * fleet.nodes)))
    return [
        Habit(
            phase=chance.uniform(0, fleet.interval_s),
            dies_at=_between(chance, LIFE, fleet.span_s) if node in doomed else math.inf,
            flaps_from=_between(chance, TALK, fleet.offline_s) if node in restless else math.inf,
            talk_s=_between(chance, TALK, fleet.offline_s),
            silence_s=SILENCE * fleet.offline_s,
            drifted=node in drifted,
        )
        for node in range(fleet.nodes)
    ]


class Engine:
    """Heartbeats in the order in which they arrive."""

    def __init__(self, fleet: Fleet, new_id: Callable[[], UUID] = uuid4) -> None:
        self.fleet = fleet
        self.habits = habits(fleet)
        self.new_id = new_id
        self.coming = [(habit.phase, node, 0) for node, habit in enumerate(self.habits)]
        self.on_the_way: list[Beat] = []
        self.lost = 0
        heapq.heapify(self.coming)

    def due(self, until: float) -> Sequence[Beat]:
        """What arrives until then and was not returned before."""
        while self.coming and self.coming[0][0] <= until:
            self._report(*self.coming[0])
        return list(self._arrived(until))

    def died(self, now: float) -> list[int]:
        """The nodes that are dead by then."""
        return [node for node, habit in enumerate(self.habits) if habit.dies_at <= now]

    def flapped(self, now: float) -> list[int]:
        """The nodes that have been silent, or are, and come back."""
        return [node for node, habit in enumerate(self.habits) if habit.flaps_from <= now]

    def _report(self, at: float, node: int, number: int) -> None:
        fleet, habit = self.fleet, self.habits[node]
        chance = Random(f"{fleet.seed} {node} {number}")  # noqa: S311  # the same for the same seed
        following = habit.phase + (number + 1 + chance.uniform(-JITTER, JITTER)) * fleet.interval_s
        if at >= habit.dies_at:
            heapq.heappop(self.coming)
            return
        heapq.heapreplace(self.coming, (following, node, number + 1))
        if habit.speaks(at):
            self._send(at, node, number, chance)

    def _send(self, at: float, node: int, number: int, chance: Random) -> None:
        shares, interval_s = self.fleet.shares, self.fleet.interval_s
        lost, late, again, error = (
            chance.random() < share for share in (shares.lost, shares.late, shares.duplicate, shares.errors)
        )
        if lost:
            self.lost += 1
            return
        arrives = at + (_between(chance, LATE, interval_s) if late else 0)
        beat = partial(Beat, node=node, number=number, sent=at, id=self.new_id(), error=error)
        heapq.heappush(self.on_the_way, beat(arrives=arrives, repeat=False))
        if again:
            heapq.heappush(self.on_the_way, beat(arrives=arrives + _between(chance, REPEATED, interval_s), repeat=True))

    def _arrived(self, until: float) -> Iterator[Beat]:
        """A dead node sends nothing again: a heartbeat of it that has not arrived is lost."""
        while self.on_the_way and self.on_the_way[0].arrives <= until:
            beat = heapq.heappop(self.on_the_way)
            if beat.arrives < self.habits[beat.node].dies_at:
                yield beat
            elif not beat.repeat:
                self.lost += 1


def reported(engine: Engine, beat: Beat, config_hash: str) -> dict[str, Any]:
    """The fields of a heartbeat's message that do not depend on the database."""
    load = _load(beat.node, beat.sent)
    late_s = beat.arrives - beat.sent
    return {
        "id": str(beat.id),
        "status": "error" if beat.error else "ok",
        "error_message": ERROR if beat.error else None,
        "config_hash": "another" if engine.habits[beat.node].drifted else config_hash,
        "metrics": {
            "cpu_percent": round(load, 1),
            "memory_percent": round(30 + load / 2, 1),
            "disk_gb": round(200 + beat.sent / 60, 2),
            **({"late_s": round(late_s, 3)} if late_s and not beat.repeat else {}),
        },
        "pools": [_pool(beat, load, number) for number in range(1, engine.fleet.pools + 1)],
    }


def node_name(node: int) -> str:
    """Node 0 is called sim-00001."""
    return f"sim-{node + 1:05}"


def _pool(beat: Beat, load: float, number: int) -> dict[str, Any]:
    size = 2 + (beat.node + number) % 6
    return {
        "oracle_pool_id": f"{node_name(beat.node)}-pool-{number}",
        "current_instances": size,
        "active_instances": min(size, math.ceil(size * load / 100)),
        "avg_cpu_utilization": round(load, 1),
        "avg_memory_utilization": round(30 + load / 2, 1),
        "max_cpu_utilization": round(min(100, load * 1.3), 1),
        "pool_status": "error" if beat.error else "warning" if load > 85 else "healthy",
    }


def _load(node: int, at: float) -> float:
    """Percent: a slow wave, different for each node, with a small quick one on it."""
    return 50 + 38 * math.sin(node + at / WANDER_S) + 7 * math.sin(7 * node + at / 11)


def _between(chance: Random, bounds: tuple[float, float], unit: float) -> float:
    return chance.uniform(*bounds) * unit
