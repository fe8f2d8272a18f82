"""More is sent than before."""

import time

from recovery.world import Way, World


def times(factor: float, seconds: float) -> Way:
    def way(world: World) -> None:
        before = world.crew.per_s
        world.crew.per_s = factor * before
        time.sleep(seconds)
        world.crew.per_s = before

    return way
