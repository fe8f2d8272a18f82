"""The disk of the data is full, or that of the WAL."""

import time
from contextlib import suppress
from functools import partial

import psycopg

from recovery.servers import Server
from recovery.small_disk import empty, fill
from recovery.world import Way, World
from worlds.fleet import until


def data(seconds: float) -> Way:
    """Tables can't grow: PostgreSQL refuses what would need a page more, until there is room."""

    def way(world: World) -> None:
        fill(world.small_disk())
        time.sleep(seconds)
        empty(world.small_disk())

    return way


def wal(world: World) -> None:
    """PostgreSQL ends itself where it can't write its WAL; somebody makes room, and starts it."""
    primary = world.primary
    with primary.connect() as conn:
        # As a standby that is away does: what is written is not written over.
        conn.execute("select pg_create_physical_replication_slot('held', true)")
    fill(world.small_disk())
    until(lambda: not primary.runs(), what="the end of a server without WAL", work=partial(_use_up_wal, primary))
    empty(world.small_disk())
    primary.start()
    with primary.connect() as conn:
        conn.execute("select pg_drop_replication_slot('held')")


def _use_up_wal(server: Server) -> None:
    with suppress(psycopg.Error), server.connect() as conn:
        while True:
            conn.execute("select pg_switch_wal()")
