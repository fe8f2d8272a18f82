"""How fast a worker process empties a queue, from its first settled message to its last."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import LiteralString

import psutil  # type: ignore[import-untyped]

from bench import database
from pgfleet.schema.queue.kernel import Connection

# Each look counts a whole table on the server that is measured, so it is looked when half of what is left may be done.
LOOK_S, LONG_LOOK_S = 0.02, 0.5
DEADLINE_S = 300


@contextmanager
def process(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a user would start it; ended with SIGTERM, and it must end."""
    worker = subprocess.Popen(command, env={**os.environ, **environment})  # noqa: S603  # our own command
    try:
        yield worker
    finally:
        worker.terminate()
        try:
            worker.wait(timeout=30)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def worker_of(actor: str, dsn: str, threads: int) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """One process of dramatiq's command line on the module of an actor."""
    command = [sys.executable, "-m", "dramatiq", actor, "-p", "1", "-t", str(threads)]
    return process(command, {"DATABASE_URL": dsn, "PGFLEET_LOG_LEVEL": "warning"})


def in_threads(number: int, work: Callable[[], object]) -> float:
    """Do the same in several threads at once; the seconds until all have ended."""
    workers = [threading.Thread(target=work) for _ in range(number)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - started


def rate(
    conn: Connection,
    worker: subprocess.Popen[bytes],
    left_query: LiteralString,
    number: int,
    deadline_s: float = DEADLINE_S,
) -> float:
    """Messages per second. The start of the process is not counted: the clock starts at the first one done.

    `left_query` counts what has not been acknowledged yet.
    """
    deadline = time.monotonic() + deadline_s
    while (first := left(conn, left_query)) == number:
        _wait(worker, deadline, LOOK_S)
    started = time.perf_counter()
    while now := left(conn, left_query):
        _wait(worker, deadline, _next_look_s(first, now, time.perf_counter() - started))
    return first / (time.perf_counter() - started)


def _next_look_s(first: int, now: int, taken_s: float) -> float:
    """When half of what is left may be done; little that was seen says little, so no longer than it was seen for."""
    left_s = now * taken_s / max(first - now, 1)
    return max(min(left_s / 2, taken_s), LOOK_S)


def processes(started: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process and those that it has started."""
    return [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]


def cpu_s(started: subprocess.Popen[bytes]) -> float:
    """What all of them have used."""
    return float(sum(sum(each.cpu_times()[:2]) for each in processes(started)))


def cpu_us(conn: Connection, worker: subprocess.Popen[bytes], left_query: LiteralString) -> dict[str, float]:
    """CPU of a worker process and of the server for each message, from the first that is done to the last.

    It counts the whole server, so nothing else may run there, and nobody looks meanwhile but now and then.
    """
    number = left(conn, left_query)
    deadline = time.monotonic() + DEADLINE_S
    while (first := left(conn, left_query)) == number:
        _wait(worker, deadline, LOOK_S)
    before = cpu_s(worker), database.server_cpu_s(conn)
    while left(conn, left_query):
        _wait(worker, deadline, LONG_LOOK_S)
    after = cpu_s(worker), database.server_cpu_s(conn)
    return {
        f"{whose}_cpu_us": round((late - early) / first * 1e6, 1)
        for whose, early, late in zip(("worker", "postgres"), before, after, strict=True)
    }


def left(conn: Connection, query: LiteralString) -> int:
    row = conn.execute(query).fetchone()
    assert row is not None
    count: int = row[0]
    return count


def _wait(worker: subprocess.Popen[bytes], deadline: float, seconds: float) -> None:
    if worker.poll() is not None:
        raise SystemExit(f"the worker has ended by itself: {worker.args!r} gave {worker.returncode}")
    if time.monotonic() > deadline:
        raise SystemExit(f"the worker has not emptied its queue in time: {worker.args!r}")
    time.sleep(seconds)
