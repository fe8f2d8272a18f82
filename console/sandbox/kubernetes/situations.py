"""What a script of a pod can know, and the steps that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfleet.console.sandbox.kubernetes.recorder import Notice
    from pgfleet.console.sandbox.kubernetes.resources import Object

    Apply = Callable[[Object, str], None]
    Script = Callable[["Situation"], Iterator["Step"]]


@dataclass(frozen=True, slots=True)
class Situation:
    """The pod as it was when the script began.

    Attributes:
        delay_s: how long a pod takes to be ready.
        trouble_s: how long the trouble of this script lasts; for ever if it is None.
        second_s: how long a second takes of those that a kubelet waits for.
    """

    pod: Object
    delay_s: float
    trouble_s: float | None
    second_s: float

    @property
    def images(self) -> list[str]:
        return [container["image"] for container in self.pod["spec"]["containers"]]

    @property
    def names(self) -> list[str]:
        return [container["name"] for container in self.pod["spec"]["containers"]]


@dataclass(frozen=True, slots=True)
class Step:
    """After `delay_s`, `apply(pod, now)` changes the status; None removes the pod."""

    delay_s: float
    apply: Apply | None
    notices: tuple[Notice, ...] = ()


def nothing(*_: Object | str) -> None:
    """A step that only takes time, or writes events."""


def pauses(first_s: float = 10.0, longest_s: float = 300.0) -> Iterator[float]:
    """A kubelet's pauses before it tries again, in its own seconds: each is twice the one before."""
    pause_s = first_s
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, longest_s)


def spelt(seconds: float) -> str:
    """As Go prints it: 40s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
