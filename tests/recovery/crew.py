"""Workers and a producer on servers that fail; afterwards how long nothing went on, what is lost, what doubled.

Each message makes one row. A message that is worked on twice finds the row and moves it on, so its history tells.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from recovery.servers import Server
from worlds.database import Connection
from worlds.fleet import REPOSITORY, kill, send, until, worker_environment
from worlds.small.kind import QUEUE, do

PAUSE_S = 0.05
AT_WORK = "select count(distinct actor) from public.status_history where msg_id is not null"
RUN = "select count(*) from public.status_history"
DOUBLED = "select row_id from public.status_history group by row_id having count(*) > 1"
WAKE_UPS, IDLE_S = 3, 3.0


@dataclass
class Crew:
    """Two workers, and a producer that sends a message every 50 ms to the server that is live."""

    workers: list[subprocess.Popen[bytes]]
    live: Server
    numbers: Iterator[int] = field(default_factory=count)
    sent: set[int] = field(default_factory=set)
    producing: threading.Event = field(default_factory=threading.Event)

    def produce(self, server: Server) -> None:
        """From now on to this server."""
        self.producing.set()
        self.live, self.producing = server, threading.Event()
        threading.Thread(target=self._produce, args=(server, self.producing), daemon=True).start()

    def rest(self) -> None:
        self.producing.set()

    def _produce(self, server: Server, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                with server.connect() as conn:
                    while not ended.wait(PAUSE_S):
                        self.send(conn)
            except psycopg.Error:
                ended.wait(PAUSE_S)

    def send(self, conn: Connection) -> int:
        """A number counts as sent when the server has said so."""
        number = next(self.numbers)
        send(conn, QUEUE, do(number))
        self.sent.add(number)
        return number

    def runs(self, messages: int = 20) -> None:
        """So many have been run, and more are coming."""
        with self.live.connect() as conn:
            until(lambda: value(conn, RUN) >= messages, within_s=60, what="messages at work")

    def are_at_work(self) -> None:
        """Each of them: one that starts while the server is away would end."""
        with self.live.connect() as conn:
            until(lambda: value(conn, AT_WORK) == len(self.workers), within_s=60, what="each worker at work")

    def seconds_until_run(self) -> float:
        """From now until the next message has been run."""
        started = time.monotonic()
        with self.live.connect() as conn:
            before = value(conn, RUN)
            until(lambda: value(conn, RUN) > before, what="a message that is run")
        return time.monotonic() - started

    def finish(self) -> tuple[list[int], list[str]]:
        """Let all be worked on; the messages that were lost, and those that were doubled."""
        self.rest()
        with self.live.connect() as conn:
            left = f"select count(*) from pgmq.q_{QUEUE}"
            until(lambda: value(conn, left) == 0, within_s=120, what="an empty queue")
            made = {row[0] for row in conn.execute("select job_id from public.small_jobs")}
            return sorted(self.sent - made), [row[0] for row in conn.execute(DOUBLED)]

    def wake_up_ms(self) -> float:
        """From a send to its row, the middle of three, with workers that have been idle for seconds."""
        times = []
        with self.live.connect() as conn:
            for number in range(WAKE_UPS):
                time.sleep(IDLE_S + number / WAKE_UPS)
                before, started = value(conn, RUN), time.monotonic()
                self.send(conn)
                until(partial(self._has_run_more, conn, before), within_s=10)
                times.append(1000 * (time.monotonic() - started))
        return sorted(times)[WAKE_UPS // 2]

    @staticmethod
    def _has_run_more(conn: Connection, before: int) -> bool:
        return bool(value(conn, RUN) > before)


def value(conn: Connection, query: str) -> Any:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def crew_on(dsn: str, live: Server, folder: Path) -> Iterator[Crew]:
    """Two workers that reach a server by this connection string, at work."""
    environment = worker_environment(dsn, None, log_level="warning")
    paths = os.pathsep.join(str(REPOSITORY / path) for path in (".", "tests"))
    command = [sys.executable, "-m", "dramatiq", "recovery.served", "-p", "1", "-t", "2"]
    said = folder / "workers.log"
    workers: list[subprocess.Popen[bytes]] = []
    with said.open("wb") as log:
        try:
            for _ in range(2):
                workers.append(  # noqa: PERF401 - each that was started is ended
                    subprocess.Popen(
                        command,
                        env=environment | {"PYTHONPATH": paths},
                        cwd=REPOSITORY,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            crew = Crew(workers, live)
            crew.produce(live)
            crew.runs()
            crew.are_at_work()
            yield crew
            crew.rest()
            assert [worker.poll() for worker in workers] == [None, None], "a worker has ended"
        finally:
            # Shown where the test fails.
            sys.stdout.write(said.read_text(encoding="utf-8")[-3000:])
            for worker in workers:
                if worker.poll() is None:
                    kill(worker)
