"""Workers are killed with what they have in hand, and others come in their places."""

import time

from recovery.world import Way, World


def one_is_killed(away_s: float) -> Way:
    def way(world: World) -> None:
        world.crew.kill(0)
        time.sleep(away_s)
        world.crew.start(0)

    return way


def killed_all_the_time(times: int, pause_s: float) -> Way:
    """One after the other, each while the next one starts."""

    def way(world: World) -> None:
        for number in range(times):
            place = number % len(world.crew.workers)
            world.crew.kill(place)
            world.crew.start(place)
            time.sleep(pause_s)

    return way
