"""What the watch has seen of the cluster lately, for the threads of one process; nothing while it is out of touch."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from pgfleet.workers.clients.kubernetes.pod import NodeState, PodState, ServiceState
from pgfleet.workers.clients.kubernetes.watch.watcher import SILENCE_S


def fingerprint(pod: PodState) -> str:
    """Of all that steps look at."""
    return hashlib.sha256(repr(pod).encode()).hexdigest()[:32]


T = TypeVar("T", PodState, ServiceState, NodeState)


class Things(Generic[T]):
    """Things of one resource by their names."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._things: dict[str, T] = {}
        self._true_until = 0.0

    @property
    def is_in_touch(self) -> bool:
        """Whether what was seen is still so, as far as anybody can know."""
        return time.monotonic() < self._true_until

    def find(self, name: str) -> T | None:
        """As it was last seen; None where it was not seen, or where what was seen may no longer be so."""
        with self._lock:
            return self._things.get(name) if self.is_in_touch else None

    def put_all(self, things: Iterable[T]) -> None:
        with self._lock:
            self._things = {thing.name: thing for thing in things}

    def put(self, thing: T) -> None:
        with self._lock:
            self._things[thing.name] = thing

    def drop(self, name: str) -> None:
        with self._lock:
            self._things.pop(name, None)

    def in_touch(self) -> None:
        with self._lock:
            self._true_until = time.monotonic() + SILENCE_S

    def out_of_touch(self) -> None:
        with self._lock:
            self._true_until = 0.0


@dataclass(frozen=True)
class Seen:
    """Pods and services of reservations, and nodes."""

    pods: Things[PodState] = field(default_factory=Things[PodState])
    services: Things[ServiceState] = field(default_factory=Things[ServiceState])
    nodes: Things[NodeState] = field(default_factory=Things[NodeState])
