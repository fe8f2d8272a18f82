"""Workers that are killed, paused past their leases and ended; the API and the server that are restarted."""

from typing import Any

from hunt.known import CREW, Act, Known, nothing
from hunt.world import World


def _one(known: Known) -> dict[str, Any]:
    return {"number": known.dice.randrange(CREW)}


def _kill(world: World, number: int) -> None:
    world.crew.kill(number)


def _pause(world: World, number: int) -> None:
    world.crew.pause(number)


def _go_on(world: World, number: int) -> None:
    world.crew.go_on(number)


def _end(world: World, number: int) -> None:
    world.crew.end(number)


def _restart(world: World, mode: str) -> None:
    world.restart(mode)


def _kill_api(world: World) -> None:
    world.restart_api()


ACTS = {
    "kill": Act(5, _one, _kill, "Worker {number} is killed; another comes"),
    "pause": Act(3, _one, _pause, "Worker {number} stands still"),
    "go_on": Act(4, _one, _go_on, "Worker {number} goes on where it stood"),
    "end": Act(1, _one, _end, "Worker {number} is asked to end; another comes", of_processes=True),
    "restart": Act(
        0.5,
        lambda known: {"mode": known.dice.choice(["fast", "immediate"])},
        _restart,
        "The database server is restarted ({mode})",
        of_processes=True,
    ),
    "kill_api": Act(0.7, nothing, _kill_api, "The API is killed and started again", of_processes=True),
}
