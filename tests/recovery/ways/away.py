"""The server goes away: it is restarted, killed, hangs, takes no writes, moves, or is silent."""

import time
from contextlib import suppress
from functools import partial

from pgfleet.schema.errors import FleetError
from recovery.servers import Server
from recovery.world import Way, World
from worlds.fleet import until


def restarted(mode: str, away_s: float = 0) -> Way:
    def way(world: World) -> None:
        world.primary.stop(mode)
        time.sleep(away_s)
        world.primary.start()

    return way


def killed(world: World) -> None:
    """Sessions that had just begun when it was killed keep it from starting until they have found it dead."""
    world.primary.kill()
    until(partial(_starts, world.primary), what="a server that starts after its death")


def _starts(server: Server) -> bool:
    with suppress(FleetError):
        server.start()
    return server.runs()


def hangs(seconds: float) -> Way:
    def way(world: World) -> None:
        world.primary.freeze()
        time.sleep(seconds)
        world.primary.thaw()

    return way


def hangs_and_standby_is_promoted(world: World) -> None:
    world.primary.freeze()
    world.let_standby_answer()


def hangs_and_address_moves(world: World) -> None:
    world.primary.freeze()
    world.address.target = world.second().dsn
    world.let_standby_answer()


def address_leads_to_a_standby(world: World) -> None:
    """The address moves first, and workers reconnect to a server in recovery; then it is promoted."""
    world.address.target = world.second().dsn
    world.primary.stop("immediate")
    time.sleep(5)
    world.let_standby_answer()


def read_only(seconds: float) -> Way:
    """Sessions stay open, and take no writes for a while."""

    def way(world: World) -> None:
        world.primary.set("default_transaction_read_only", "on")
        time.sleep(seconds)
        world.primary.set("default_transaction_read_only", "off")

    return way


def turns_read_only(world: World) -> None:
    """Sessions stay open on a server that takes no writes any more; its standby does."""
    world.crew.rest()
    world.primary.set("synchronous_standby_names", "")
    world.primary.set("default_transaction_read_only", "on")
    world.let_standby_answer()


def silent(seconds: float) -> Way:
    """A proxy takes connections and bytes, and passes nothing on."""

    def way(world: World) -> None:
        world.address.flowing.clear()
        time.sleep(seconds)
        world.address.flowing.set()

    return way


def open_sessions_stay_silent(world: World) -> None:
    world.address.silence()


def restored(world: World) -> None:
    """What is sent after the copy was made is not in it."""
    crew = world.crew
    crew.rest()
    sent = dict(crew.sent)
    copy = world.primary.copy_to(world.folder / "copy")
    crew.produce(world.primary)
    crew.runs(len(sent) + 20)
    crew.rest()
    world.primary.stop("fast")
    crew.forget(sent)
    copy.start()
    world.address.target = copy.dsn
    crew.produce(copy)
