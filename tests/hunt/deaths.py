"""Workers that are killed, paused past their leases and ended; the API and the server that are restarted."""

from typing import Any

from hunt.known import CREW, Act, Known, nothing


def _one(known: Known) -> dict[str, Any]:
    return {"number": known.dice.randrange(CREW)}


ACTS = {
    "kill": Act(5, _one, lambda world, number: world.crew.kill(number), "Worker {number} is killed; another comes"),
    "pause": Act(3, _one, lambda world, number: world.crew.pause(number), "Worker {number} stands still"),
    "go_on": Act(4, _one, lambda world, number: world.crew.go_on(number), "Worker {number} goes on where it stood"),
    "end": Act(
        1,
        _one,
        lambda world, number: world.crew.end(number),
        "Worker {number} is asked to end; another comes",
        of_processes=True,
    ),
    "restart": Act(
        0.5,
        lambda known: {"mode": known.dice.choice(["fast", "immediate"])},
        lambda world, mode: world.restart(mode),
        "The database server is restarted ({mode})",
        of_processes=True,
    ),
    "kill_api": Act(
        0.7, nothing, lambda world: world.restart_api(), "The API is killed and started again", of_processes=True
    ),
}
