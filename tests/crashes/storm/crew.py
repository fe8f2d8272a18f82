"""Two processes of each kind, killed again and again: a burst of deaths, then a while of peace, kind by kind."""

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Event

from crashes.nursery import API, PORT, Nursery, kill_group
from crashes.storm.forks import UP
from crashes.storm.points import points_of

# So many deaths of a kind before it is let live for a while, in which what was in hand has to be run again.
BURST = 16
# How long after it has begun a process is killed, unless it comes to a labelled point; and how long that is waited for.
SOONEST_S, LATEST_S, LABEL_S = 0.005, 0.3, 1.5
BEGINS_WITHIN_S = 60.0
# Of the deaths, those that are wanted at a labelled point, and those while a process begins.
LABELLED, BEGINNING = 0.6, 0.05


@dataclass(frozen=True, slots=True)
class Kill:
    who: str
    kind: str
    at: float
    # None: at no point that anybody has chosen.
    place: str | None


@dataclass
class Life:
    """One process: of which kind, when it is killed, and where it kills itself."""

    kind: str
    who: str
    pid: int
    folder: Path
    point: tuple[str, str] | None
    born_at: float
    after_s: float
    beginning: bool

    @property
    def marker(self) -> Path:
        return self.folder / f"{self.who}.killed"

    @property
    def up(self) -> Path:
        return self.folder / f"{self.who}.up"

    def is_alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def is_due(self, now: float) -> bool:
        if self.beginning:
            return now >= self.born_at + self.after_s
        try:
            return now >= self.up.stat().st_mtime + self.after_s
        except FileNotFoundError:
            return now > self.born_at + BEGINS_WITHIN_S

    def forget(self) -> None:
        self.marker.unlink(missing_ok=True)
        self.up.unlink(missing_ok=True)


@dataclass
class Crew:
    """`shares` says how many deaths each kind is to have."""

    forks: Nursery
    port: int
    folder: Path
    dice: Random
    shares: Mapping[str, int]
    calm_s: float
    lives: list[Life] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    died: Counter[str] = field(default_factory=Counter)
    calm_until: dict[str, float] = field(default_factory=dict)

    def start_all(self) -> None:
        for kind in self.shares:
            for _ in range(1 if kind == API else 2):
                self._start(kind)

    def tick(self) -> None:
        """Kill who is due, and begin whoever has died again."""
        now = time.time()
        for life in list(self.lives):
            if not life.is_alive():
                self._note_end(life)
            elif self._may_die(life.kind, now) and life.is_due(now):
                at = time.time()
                kill_group(life.pid)
                # It may have come to its point in the same moment: then that has killed it.
                if life.marker.exists():
                    self._note_end(life)
                else:
                    self._note(life, at, None)

    def is_over(self) -> bool:
        return all(self.died[kind] >= share for kind, share in self.shares.items())

    def _may_die(self, kind: str, now: float) -> bool:
        return self.died[kind] < self.shares[kind] and now >= self.calm_until.get(kind, 0)

    def _note_end(self, life: Life) -> None:
        try:
            at = life.marker.stat().st_mtime
        except FileNotFoundError:
            self.odd.append(f"a process of {life.kind} ended by itself (armed at {life.point})")
            self.lives.remove(life)
            life.forget()
            self._start(life.kind)
            return
        self._note(life, at, " ".join(life.point or ()))

    def _note(self, life: Life, at: float, place: str | None) -> None:
        self.kills.append(Kill(life.who, life.kind, at, place))
        self.lives.remove(life)
        life.forget()
        self.died[life.kind] += 1
        if self.died[life.kind] % BURST == 0 or self.died[life.kind] >= self.shares[life.kind]:
            self.calm_until[life.kind] = time.time() + self.calm_s
        self._start(life.kind)

    def _start(self, kind: str) -> None:
        who = f"storm-{len(self.kills)}-{len(self.odd)}-{len(self.lives)}"
        peace = self.died[kind] >= self.shares[kind] or time.time() < self.calm_until.get(kind, 0)
        is_labelled = not peace and self.dice.random() < LABELLED
        point = self.dice.choice(points_of(kind)) if is_labelled else None
        beginning = not is_labelled and not peace and self.dice.random() < BEGINNING
        after_s = LABEL_S if is_labelled else self.dice.uniform(SOONEST_S, LATEST_S)
        life = Life(kind, who, 0, self.folder, point, time.time(), after_s, beginning)
        environment = {"PGAPPNAME": who, UP: str(life.up), PORT: str(self.port)}
        armed = (life.marker, *point, self.dice.choice((1, 1, 2))) if point else ()
        life.pid = self.forks.start(kind if kind == API else f"pgfleet.workers.{kind}", environment, *armed)
        self.lives.append(life)

    # What a world asks of its crew when it comes to rest.

    def work(self, pause_s: float) -> bool:
        """They go on by themselves. One that is still armed may die: another comes."""
        Event().wait(pause_s)
        for life in list(self.lives):
            if not life.is_alive():
                self._note_end(life)
        return False

    def kill(self, number: int) -> None: ...
    def pause(self, number: int) -> None: ...
    def go_on(self, number: int) -> None: ...
    def end(self, number: int) -> None: ...

    def rest(self) -> None:
        """From now on nobody is killed, until `go`."""
        self.calm_until = dict.fromkeys(self.shares, float("inf"))

    def go(self) -> None:
        self.calm_until = {}

    def close(self) -> None:
        for life in self.lives:
            kill_group(life.pid)
