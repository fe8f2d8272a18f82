"""Sessions are ended, taken by others, silent, or hold back the removal of dead rows."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg

from recovery.servers import Server
from recovery.world import Way, World
from worlds.database import Connection
from worlds.fleet import until
from worlds.small.kind import QUEUE

END_OTHERS = """
select pg_terminate_backend(pid) from pg_stat_activity
where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name <> 'taker'
"""
SCAN = f"select (select count(*) from pgmq.q_{QUEUE}), (select count(*) from public.small_jobs)"


def ended_all_the_time(seconds: float, pause_s: float = 0.5) -> Way:
    def way(world: World) -> None:
        with world.primary.connect() as conn:
            for _ in range(round(seconds / pause_s)):
                conn.execute(END_OTHERS)
                time.sleep(pause_s)

    return way


def all_others_are_taken(seconds: float) -> Way:
    """Whoever has a session keeps it; nobody gets another one."""

    def way(world: World) -> None:
        with ExitStack() as taken:
            assert _take_all(world.primary, taken) > 0
            time.sleep(seconds)

    return way


def all_are_taken(seconds: float) -> Way:
    """Whoever has a session loses it, and those who take them all have it next."""

    def way(world: World) -> None:
        ends = time.monotonic() + seconds
        with world.primary.connect() as conn, ExitStack() as taken:
            while time.monotonic() < ends:
                conn.execute(END_OTHERS)
                _take_all(world.primary, taken)
                time.sleep(0.1)

    return way


def _take_all(server: Server, taken: ExitStack) -> int:
    """How many were left."""
    number = 0
    while True:
        try:
            conn = psycopg.connect(server.dsn, autocommit=True, application_name="taker", connect_timeout=5)
        except psycopg.OperationalError:
            return number
        taken.enter_context(conn)
        number += 1


def fall_silent(word: bytes) -> Way:
    """Those on which this word was said pass nothing on any more; new ones do. It ends when one of those says it."""

    def way(world: World) -> None:
        known = world.address.known[word]
        until(lambda: known, what=f"a session that says {word!r}")
        before = set(known)
        assert world.address.silence(word) > 0
        until(lambda: known - before, what=f"another session that says {word!r}")

    return way


def idle_in_transaction(seconds: float) -> Way:
    """It has written, and what has died since can't be removed."""

    def way(world: World) -> None:
        with _transaction(world, "read committed") as conn:
            conn.execute("select pg_current_xact_id()")
            time.sleep(seconds)

    return way


def read_repeatably(seconds: float, readers: int = 4) -> Way:
    """Reports of a minute: each reads the same tables again and again in one transaction."""

    def read(world: World, ended: threading.Event) -> None:
        with _transaction(world, "repeatable read") as conn:
            while not ended.wait(0.2):
                conn.execute(SCAN.encode())

    def way(world: World) -> None:
        ended = threading.Event()
        threads = [threading.Thread(target=read, args=(world, ended)) for _ in range(readers)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        ended.set()
        for thread in threads:
            thread.join()

    return way


@contextmanager
def _transaction(world: World, isolation: str) -> Iterator[Connection]:
    with world.primary.connect() as conn:
        conn.execute(f"begin isolation level {isolation}".encode())
        yield conn
        conn.execute("rollback")
