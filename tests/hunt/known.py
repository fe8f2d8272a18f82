"""What a plan has asked for so far, and the shape of a step: plain data, so that a seed alone makes it again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

PEOPLE = [f"user{number}" for number in range(6)]
MEMBERS = [f"auth0|p{number}" for number in range(7)]
NODES, CLUSTER_NODES, RECEIVERS, CREW = 4, 3, 2, 2


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens, `pause_s` after the one before."""

    what: str
    given: Mapping[str, Any]
    pause_s: float


@dataclass
class Known:
    """What was asked for, whatever has become of it."""

    dice: Random
    reservations: list[tuple[str, str]] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)

    def new_id(self) -> str:
        return str(UUID(int=self.dice.getrandbits(128), version=4))

    def reservation(self) -> dict[str, Any]:
        """One with its owner; now and then one that nobody has asked for, or somebody else's."""
        dice = self.dice
        if not self.reservations or dice.random() < 0.05:
            return {"reservation_id": self.new_id(), "user_id": dice.choice(PEOPLE)}
        row_id, user = dice.choice(self.reservations[-12:])
        return {"reservation_id": row_id, "user_id": user if dice.random() < 0.95 else dice.choice(PEOPLE)}


@dataclass(frozen=True, slots=True)
class Act:
    """A sort of step.

    Attributes:
        weight: how often it is among others.
        make: its particulars, of a plan.
        do: what it does to a world, given those.
        say: a sentence about it, of the particulars.
        of_processes: only processes can suffer it.
    """

    weight: float
    make: Callable[[Known], dict[str, Any]]
    do: Callable[..., None]
    say: str
    of_processes: bool = False


def nothing(_: Known) -> dict[str, Any]:
    return {}
