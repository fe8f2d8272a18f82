"""All that may happen, and what a seed makes of it: the same steps for the same seed."""

from random import Random

from hunt import deaths, dependencies, meddling, users
from hunt.invariants import always
from hunt.known import Act, Known, Step, nothing
from hunt.quiet import mend, wait_until_idle
from hunt.world import World

# Steps before each quiet point.
STRETCH = 30


class ViolatedError(AssertionError):
    """What had to hold did not."""


def check_quietly(world: World) -> None:
    """All is mended and answered; what has to hold always does."""
    mend(world)
    wait_until_idle(world)
    wrong = list(always(world))
    if wrong:
        raise ViolatedError("\n".join(wrong))


ACTS: dict[str, Act] = {
    **users.ACTS,
    **dependencies.ACTS,
    **deaths.ACTS,
    **meddling.ACTS,
    "quiet": Act(0, nothing, check_quietly, "All is mended, and all that is due is answered"),
}


def plan(seed: int, number: int, *, has_processes: bool) -> list[Step]:
    """So many steps, and quiet points among them; what only processes can suffer is left out without them."""
    known = Known(Random(seed))
    names = [name for name, act in ACTS.items() if has_processes or not act.of_processes]
    weights = [ACTS[name].weight for name in names]
    steps: list[Step] = []
    for _ in range(number):
        what = known.dice.choices(names, weights)[0]
        steps.append(Step(what, ACTS[what].make(known), known.dice.choice((0, 0, 0.05, 0.1, 0.3))))
        if len(steps) % STRETCH == STRETCH - 1:
            steps.append(Step("quiet", {}, 0.1))
    return steps
