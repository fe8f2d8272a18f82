"""A pooler of transactions dies, or its sessions with the server are ended."""

import time

from recovery.world import Way, World


def restarted(away_s: float) -> Way:
    def way(world: World) -> None:
        world.pool().kill()
        time.sleep(away_s)
        world.pool().start()

    return way
