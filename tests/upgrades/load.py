"""What goes on while a migration runs: workers at full speed, requests of the API, and who looks at locks."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import psycopg

from pgfleet.schema.kinds import queues
from pgfleet.schema.queue import claims
from worlds.database import Connection
from worlds.fleet import send
from worlds.small.kind import QUEUE, do

# How many messages wait at any time, so that workers never rest.
AHEAD = 300
LOOK_S = 0.01
LEFT = f"select count(*) from pgmq.q_{QUEUE}"  # a name of ours
# Who waits for a lock, for how long so far, and whether it is the one who migrates that waits, or that is waited for.
WAITING = """
select a.pid, a.pid = %(migrator)s as is_migrator, %(migrator)s = any (pg_blocking_pids(a.pid)) as by_migrator,
  left(a.query, 200) as query
from pg_stat_activity a
where a.wait_event_type = 'Lock' and a.datname = current_database() and a.backend_type = 'client backend'
"""
MIGRATOR = """
select l.pid from pg_locks l
where l.relation = 'public.schema_migrations'::regclass and l.mode = 'ShareRowExclusiveLock' and l.granted
  and l.database = (select oid from pg_database where datname = current_database())
"""


@dataclass
class Watched:
    """The longest of each, in seconds."""

    migrator_waits_s: float = 0.0
    others_wait_s: float = 0.0
    others: str = ""
    claim_s: float = 0.0
    request_s: float = 0.0
    claims: int = 0
    requests: int = 0
    sent: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Load:
    """Threads that go on until the end of the block."""

    dsn: str
    seen: Watched = field(default_factory=Watched)
    ended: threading.Event = field(default_factory=threading.Event)

    def connected(self) -> Connection:
        return psycopg.connect(self.dsn, autocommit=True, application_name="load")

    def produce(self) -> None:
        with self.connected() as conn:
            number = 0
            while not self.ended.is_set():
                (left,) = conn.execute(LEFT).fetchone() or (0,)
                for _ in range(AHEAD - left):
                    send(conn, QUEUE, do(number))
                    self.seen.sent.append(number)
                    number += 1
                self.ended.wait(LOOK_S)

    def claim(self) -> None:
        """Of each queue of the fleet in turn, where nothing is due: how long that takes at most."""
        with self.connected() as conn:
            while not self.ended.is_set():
                for queue in queues():
                    began = time.monotonic()
                    claims.claim(conn, queue, 1, timedelta(seconds=1))
                    self.seen.claim_s = max(self.seen.claim_s, time.monotonic() - began)
                    self.seen.claims += 1
                self.ended.wait(LOOK_S)

    def watch_locks(self) -> None:
        """Two looks in which the same one waits for the same: it has waited from the first to the last."""
        since: dict[tuple[int, str], float] = {}
        with self.connected() as conn:
            while not self.ended.is_set():
                (pid,) = conn.execute(MIGRATOR).fetchone() or (0,)
                now = time.monotonic()
                found = conn.execute(WAITING, {"migrator": pid}).fetchall()
                since = {(who, query): since.get((who, query), now) for who, _, _, query in found}
                for who, is_migrator, by_migrator, query in found:
                    waited_s = now - since[who, query]
                    if is_migrator:
                        self.seen.migrator_waits_s = max(self.seen.migrator_waits_s, waited_s)
                    elif by_migrator and "schema_migrations" not in query and waited_s > self.seen.others_wait_s:
                        self.seen.others_wait_s, self.seen.others = waited_s, query
                self.ended.wait(LOOK_S)

    def ask(self, url: str, key: str) -> None:
        body = {"gpu_type": "h100", "gpu_count": 1, "duration_hours": 1, "github_user": "ada"}
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            while not self.ended.is_set():
                began = time.monotonic()
                answers = [client.post("/v1/reservations", json=body), client.get("/v1/reservations?limit=5")]
                self.seen.request_s = max(self.seen.request_s, (time.monotonic() - began) / 2)
                self.seen.requests += 2
                self.seen.wrong += [each.text for each in answers if not each.is_success]
                self.ended.wait(LOOK_S)


@contextmanager
def load(dsn: str, url: str, key: str) -> Iterator[Load]:
    going = Load(dsn)
    work: list[Callable[[], None]] = [going.produce, going.claim, going.watch_locks, lambda: going.ask(url, key)]
    threads = [threading.Thread(target=_told, args=(going, each)) for each in work]
    for thread in threads:
        thread.start()
    try:
        yield going
    finally:
        going.ended.set()
        for thread in threads:
            thread.join()


def _told(going: Load, work: Callable[[], None]) -> None:
    """What ends a thread is found by the test, and not only printed."""
    try:
        work()
    except (psycopg.Error, httpx.HTTPError) as error:
        going.seen.wrong.append(repr(error))


@contextmanager
def left_open(dsn: str, table: str) -> Iterator[None]:
    """Somebody who reads a table and does not end the transaction."""
    with suppress(psycopg.OperationalError), psycopg.connect(dsn) as conn:
        conn.execute(f"lock table {table} in access share mode".encode())
        yield
