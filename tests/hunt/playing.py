"""A plan, played on a world to its end: what has to hold is looked at on the way and when all has ended."""

from collections.abc import Sequence

from hunt.acts import ACTS, ViolatedError, check_quietly
from hunt.invariants import at_the_end
from hunt.known import Step
from hunt.quiet import let_all_end, live_again, rest, sweep
from hunt.world import World


def play(world: World, steps: Sequence[Step]) -> None:
    """Raises AssertionError where something does not hold, or an error of the step that has failed."""
    for number, step in enumerate(steps, 1):
        world.crew.work(step.pause_s)
        try:
            ACTS[step.what].do(world, **step.given)
        except Exception as error:
            error.add_note(f"in step {number}: {step}")
            raise
    check_quietly(world)
    end(world)


def end(world: World) -> None:
    """All is cancelled and comes to rest. Raises ViolatedError where something does not hold then."""
    let_all_end(world)
    rest(world)
    sweep(world)
    rest(world)
    live_again(world)
    rest(world)
    sweep(world)
    rest(world)
    wrong = list(at_the_end(world))
    if wrong:
        raise ViolatedError("\n".join(wrong))
