"""What a load costs: CPU of the worker and of the server, WAL, what stays on disk, and sessions, for each message."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench import database
from bench.drain import cpu_s, process, processes
from pgfleet.schema.queue.kernel import Connection

# A worker that has begun has imported all that it needs, and looked once at what is there.
BEGUN_S, LOOK_S, DEADLINE_S = 4.0, 0.25, 900
SESSIONS = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
# What grows and is let go some days later: bytes with indexes by table, and for how many days it is kept where it goes
# by whole days, as measures and heartbeats do; 0 for the others.
KEPT = """
select r.table_name, case when r.by_day then extract(epoch from r.keep)::float8 / 86400 else 0 end,
  sum(pg_total_relation_size(t.relid))::bigint
from public.retention r, lateral (
  select r.table_name::regclass as relid union select relid from pg_partition_tree(r.table_name::regclass)) t
group by r.table_name, r.keep, r.by_day
"""
SENT = "select coalesce(last_value, 0) from pg_sequences where schemaname = 'pgmq' and sequencename = %s"


@dataclass(frozen=True)
class Load:
    """A worker and what it is given.

    Attributes:
        module: what dramatiq serves.
        prepare: what has to be there before; the worker is at work on it.
        send: makes all of it due, while the worker is stopped: what that costs is the sender's.
        number: things that are asked for, such as reservations; `sent` messages ask for them.
        done: how many of them have ended.
    """

    name: str
    module: str
    queue: str
    number: int
    sent: int
    send: Callable[[Connection], object]
    done: Callable[[Connection], int]
    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int = 4
    prepare: Callable[[Connection], object] = lambda _: None


@dataclass(frozen=True)
class Cost:
    """Of each message, but for `messages`, which is of each thing that was asked for, and `sessions`, of one worker."""

    messages: float
    worker_us: float
    server_us: float
    wal_bytes: float
    kept_bytes: float
    # Of what goes by whole days, bytes times days.
    held_bytes: float
    sessions: int


@dataclass(frozen=True)
class _Seen:
    worker_s: float
    server_s: float
    wal: int
    kept: int
    held: float
    messages: int


def cost(conn: Connection, dsn: str, load: Load) -> Cost:
    """Nothing else may run on the server meanwhile. It begins with a checkpoint: WAL is the most that it can be."""
    command = [sys.executable, "-m", "dramatiq", load.module, "-p", "1", "-t", str(load.threads)]
    environment = {"DATABASE_URL": dsn, "PGFLEET_LOG_LEVEL": "warning", **load.environment}
    with process(command, environment) as worker:
        _begun(conn, worker)
        load.prepare(conn)
        with _stopped(worker):
            load.send(conn)
            conn.execute("checkpoint")
            before, sessions = _look(conn, worker, load), 0
        deadline = time.monotonic() + DEADLINE_S
        while load.done(conn) < load.number:
            if worker.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{load.name}: {load.done(conn)} of {load.number} are done")
            sessions = max(sessions, counted(conn, SESSIONS))
            time.sleep(LOOK_S)
        after = _look(conn, worker, load)
    # Those that were sent, and those that followed.
    messages = load.sent + after.messages - before.messages
    return Cost(
        messages / load.number,
        1e6 * (after.worker_s - before.worker_s) / messages,
        1e6 * (after.server_s - before.server_s) / messages,
        (after.wal - before.wal) / messages,
        (after.kept - before.kept) / messages,
        (after.held - before.held) / messages,
        sessions,
    )


@contextmanager
def _stopped(worker: subprocess.Popen[bytes]) -> Iterator[None]:
    everything = processes(worker)
    for each in everything:
        each.suspend()
    try:
        yield
    finally:
        for each in everything:
            each.resume()


def _begun(conn: Connection, worker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not counted(conn, SESSIONS):
        if worker.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the worker has not begun: {worker.args!r} gave {worker.returncode}")
        time.sleep(LOOK_S)
    time.sleep(BEGUN_S)


def _look(conn: Connection, worker: subprocess.Popen[bytes], load: Load) -> _Seen:
    worker_s = cpu_s(worker)
    # Numbers of a queue's messages: those that are sent again while something waits are counted, too.
    sent = counted(conn, SENT, f"q_{load.queue}_msg_id_seq")
    kept = conn.execute(KEPT).fetchall()
    bytes_days = sum(days * size for _, days, size in kept)
    wal = database.wal_bytes(conn)
    return _Seen(worker_s, database.server_cpu_s(conn), wal, sum(size for *_, size in kept), bytes_days, sent)


def counted(conn: Connection, query: str, *arguments: object) -> int:
    """The one number that a query gives."""
    row = conn.execute(query.encode(), arguments or None).fetchone()
    assert row is not None
    return int(row[0])
