"""Who asks for what on the simulated day, and what goes wrong: the same for the same seed. Times are in hours."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

USERS = 500
# GPUs of each node and nodes, by how many of a hundred ask for it.
SIZES = {(1, 1): 34, (2, 1): 20, (4, 1): 18, (8, 1): 18, (4, 2): 4, (8, 2): 4, (8, 4): 2}
HOURS = {0.25: 20, 0.5: 25, 1: 30, 2: 20, 4: 5}
TYPES = {"h100": 70, "a100": 30}
OPEN_H, BUSIEST_H = 20.0, 9.0
BOOKED, CANCELLED, EXTENDED = 0.06, 0.12, 0.10
# So much of what there is would be used if requests came evenly, all day.
LOAD = 0.85


@dataclass(frozen=True, slots=True, order=True)
class Sent:
    """A message of a user."""

    at_h: float
    body: dict[str, Any] = field(compare=False)
    start_in_h: float | None = field(default=None, compare=False)


def requests(number: int, seed: int) -> list[Sent]:
    """So many reservations, in the order of coming, with what their users ask of them later."""
    dice = Random(seed)
    return sorted(sent for _ in range(number) for sent in _one(dice))


def _one(dice: Random) -> Iterator[Sent]:
    (gpus, nodes), hours = _of(dice, SIZES), _of(dice, HOURS)
    at, user = dice.triangular(0, OPEN_H, BUSIEST_H), f"user-{dice.randrange(USERS):03}"
    about = {"reservation_id": str(UUID(int=dice.getrandbits(128), version=4)), "user_id": user}
    body = {
        "action": "create_reservation",
        **about,
        "github_user": user,
        "gpu_type": _of(dice, TYPES),
        "gpu_count": gpus,
        "duration_hours": hours,
        **({"total_nodes": nodes} if nodes > 1 else {}),
    }
    fate = dice.random()
    yield Sent(at, body, dice.uniform(1, 5) if fate < BOOKED else None)
    if BOOKED <= fate < BOOKED + CANCELLED:
        yield Sent(at + dice.uniform(0, 2 * hours), {"action": "cancel", **about})
    elif fate > 1 - EXTENDED:
        yield Sent(at + dice.uniform(0, hours), {"action": "extend", **about, "extension_hours": dice.choice((0.5, 1))})


def _of(dice: Random, shares: dict[Any, int]) -> Any:
    return dice.choices(list(shares), list(shares.values()))[0]


def nodes_for(number: int) -> dict[str, int]:
    """Nodes of eight GPUs for so many requests: what they ask for is `LOAD` of a day of all of them."""
    gpus = _mean((gpus * nodes, share) for (gpus, nodes), share in SIZES.items())
    hours = _mean(HOURS.items())
    needed = number * gpus * hours / (24 * LOAD * 8)
    # The largest gang has to fit, with a node away.
    return {name: max(5, round(needed * share / 100)) for name, share in TYPES.items()}


def _mean(shares: Iterable[tuple[float, int]]) -> float:
    pairs = list(shares)
    return sum(value * share for value, share in pairs) / sum(share for _, share in pairs)


@dataclass(frozen=True, slots=True, order=True)
class Trouble:
    """For so long a node is silent, or nothing of Kubernetes answers; `faults` are a few answers that are wrong."""

    at_h: float
    what: str
    for_h: float


def troubles(seed: int) -> list[Trouble]:
    dice = Random(seed)
    nodes = [Trouble(dice.uniform(2, 16), "node", 1.5) for _ in range(3)]
    faults = [Trouble(dice.uniform(0.5, 18), "faults", 0.1) for _ in range(12)]
    return sorted([*nodes, *faults, Trouble(7, "outage", 0.2), Trouble(13, "outage", 0.1)])
