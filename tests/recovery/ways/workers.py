"""Workers are killed with what they have in hand, and others come in their places."""

import time

from recovery.world import Way, World


def one_is_killed(away_s: float) -> Way:
    def way(world: World) -> None:
        world.crew.kill(0)
        time.sleep(away_s)
        world.crew.start(0)

    return way


def one_is_killed_all_the_time(times: int, pause_s: float) -> Way:
    """As soon as another one has come in its place, or before; the second worker goes on."""

    def way(world: World) -> None:
        for _ in range(times):
            world.crew.kill(0)
            world.crew.start(0)
            time.sleep(pause_s)

    return way
