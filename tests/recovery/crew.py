"""Workers and a producer on servers that fail; afterwards what is lost, what doubled, and what orphaned.

Each message makes one row, and one effect outside: a file of its name. A message that is worked on twice finds the row
and moves it on, so its history tells.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psycopg
from dramatiq import cli

from recovery.servers import Server
from worlds.database import Connection
from worlds.fleet import FORKS, broken_histories, send, until, worker_environment
from worlds.small.kind import QUEUE, do

PER_S = 20.0
AT_WORK = "select count(distinct actor) from public.status_history where msg_id is not null"
RUN = "select count(*) from public.status_history"
LEFT = f"select count(*) from pgmq.q_{QUEUE}"
DOUBLED = "select row_id from public.status_history group by row_id having count(*) > 1"
DEAD = "select row_id || ' is a dead letter: ' || reason from public.dead_letters"
# What a listener has asked last.
LISTENING = "select count(*) from pg_stat_activity where query ~* '^(listen|show transaction_read_only)'"
BROKEN = broken_histories("small_job", "public.small_jobs", "job_id")
WAKE_UPS, IDLE_S = 3, 3.0
MODULE = "recovery.served"


@dataclass(frozen=True)
class Outcome:
    """What became of all that was sent: which messages have no row, which ran twice, what is left over.

    Orphaned are an effect without a row, a row without its effect or with a gap in its history, and a dead letter.
    """

    lost: list[int]
    doubled: list[str]
    orphaned: list[str]


@dataclass
class Crew:
    """Two workers, and a producer that sends messages at even intervals to the server that is live."""

    dsn: str
    live: Server
    folder: Path
    settings: dict[str, Any]
    per_s: float = PER_S
    lasts_ms: int = 0
    workers: list[ForkServerProcess] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)
    sent: dict[int, float] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)
    producing: threading.Event = field(default_factory=threading.Event)
    producer: threading.Thread = field(default_factory=threading.Thread)

    @property
    def effects(self) -> Path:
        return self.folder / "effects"

    @property
    def said(self) -> Path:
        """What workers log."""
        return self.folder / "workers.log"

    def start(self, place: int | None = None) -> None:
        """One worker more, or another one in the place of one that has ended."""
        environment = worker_environment(self.dsn, None, **{"log_level": "warning", **self.settings})
        FORKS.set_forkserver_preload(["dramatiq.cli", MODULE, __name__])
        worker = FORKS.Process(target=_be_worker, args=(environment | {"EFFECTS": str(self.effects)}, self.said))
        worker.start()
        if place is None:
            self.workers.append(worker)
        else:
            self.workers[place] = worker

    def kill(self, place: int) -> None:
        """SIGKILL to a worker and dramatiq's own parent process, at once."""
        worker = self.workers[place]
        assert worker.pid
        try:
            os.killpg(worker.pid, signal.SIGKILL)
        except ProcessLookupError:  # dead already, or not yet in a group of its own
            worker.kill()
        worker.join()

    def produce(self, server: Server) -> None:
        """From now on to this server."""
        self.producing.set()
        self.live, self.producing = server, threading.Event()
        self.producer = threading.Thread(target=self._produce, args=(server, self.producing), daemon=True)
        self.producer.start()

    def rest(self) -> None:
        """Nothing more is sent."""
        self.producing.set()
        self.producer.join(60)

    def _produce(self, server: Server, ended: threading.Event) -> None:
        due = time.monotonic()
        while not ended.is_set():
            try:
                with server.connect() as conn:
                    while not ended.wait(due - time.monotonic()):
                        self.send(conn)
                        # What could not be sent is not made up for.
                        due = max(due, time.monotonic() - 1) + 1 / self.per_s
            except psycopg.Error:
                ended.wait(1 / PER_S)

    def send(self, conn: Connection) -> int:
        """A number counts as sent when the server has said so."""
        number, at = next(self.numbers), time.time()
        send(conn, QUEUE, do(number, n=self.lasts_ms))
        self.sent[number] = at
        return number

    def forget(self, sent: dict[int, float]) -> None:
        """Nothing but this counts as sent: what was sent later is lost by intent, and so is the row of its effect."""
        first_lost = next(self.numbers)
        self.forgotten = {number for number in range(first_lost + 1) if number not in sent}
        self.sent = sent

    def runs(self, messages: int = 20) -> None:
        """So many have been run, and more are coming."""
        with self.live.connect() as conn:
            until(lambda: value(conn, RUN) >= messages, within_s=60, what="messages at work")

    def are_at_work(self) -> None:
        """Each of them: one that starts while the server is away would end."""
        with self.live.connect() as conn:
            until(lambda: value(conn, AT_WORK) == len(self.workers), within_s=60, what="each worker at work")

    def keep_up(self) -> None:
        """No more is left than a second's work, beside what is in hand: what came while they started is done."""
        most = self.per_s * (1 + self.lasts_ms / 1000)
        with self.live.connect() as conn:
            until(lambda: value(conn, LEFT) <= most, what="workers that keep up")

    def next_run(self) -> None:
        """Returns when a message has been run."""
        with self.live.connect() as conn:
            before = value(conn, RUN)
            until(lambda: value(conn, RUN) > before, what="a message that is run")

    def finish(self) -> Outcome:
        """Let all be worked on, and look what has become of it."""
        self.rest()
        with self.live.connect() as conn:
            until(lambda: value(conn, LEFT) == 0, within_s=120, what="an empty queue")
            made = {row[0] for row in conn.execute("select job_id from public.small_jobs")}
            done = {int(file.name) for file in self.effects.iterdir()} - self.forgotten
            orphaned = [
                *(f"effect {number} has no row" for number in sorted(done - made)),
                *(f"row {number} has no effect" for number in sorted(made - self.forgotten - done)),
                *(f"the history of row {row[0]} is broken" for row in conn.execute(BROKEN.encode())),
                *(row[0] for row in conn.execute(DEAD)),
            ]
            return Outcome(sorted(self.sent.keys() - made), [row[0] for row in conn.execute(DOUBLED)], orphaned)

    def listen(self) -> None:
        """Each of them, or again."""
        with self.live.connect() as conn:
            until(lambda: value(conn, LISTENING) >= len(self.workers), what="workers that listen")

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


def _be_worker(environment: dict[str, str], said: Path) -> None:
    """As dramatiq's command line does, in a group of its own."""
    os.setsid()
    os.environ.update(environment)
    with said.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    multiprocessing.set_start_method("fork", force=True)
    arguments = cli.make_argument_parser().parse_args([MODULE, "-p", "1", "-t", "2"])  # type: ignore[no-untyped-call]
    sys.exit(cli.main(arguments))  # type: ignore[no-untyped-call]


def value(conn: Connection, query: str) -> Any:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def crew_on(
    dsn: str, live: Server, folder: Path, *, per_s: float = PER_S, lasts_ms: int = 0, **settings: Any
) -> Iterator[Crew]:
    """Two workers that reach a server by this connection string, at work."""
    crew = Crew(dsn, live, folder, settings, per_s, lasts_ms)
    crew.effects.mkdir()
    try:
        for _ in range(2):
            crew.start()
        crew.produce(live)
        crew.runs()
        crew.are_at_work()
        yield crew
        crew.rest()
        assert all(worker.is_alive() for worker in crew.workers), "a worker has ended"
    finally:
        crew.producing.set()
        # Shown where the test fails.
        if crew.said.exists():
            sys.stdout.write(crew.said.read_text(encoding="utf-8")[-3000:])
        for place in range(len(crew.workers)):
            crew.kill(place)
