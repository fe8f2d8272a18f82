"""Heartbeats at a steady rate for an hour, while what is old goes: at its end none may wait longer than at first.

Each node reports every 30 s. Every table that heartbeats fill by the day has six days of before, and is kept for a day
less from time to time, so that the worker drops days under load. What goes row by row is kept for a day, and of the day
before there are as many rows a second as nodes move.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, LiteralString

from bench import database
from bench.drain import cpu_s
from bench.figures import put
from bench.fleet import Worker
from bench.heartbeats import FLEET, SEND
from bench.sizing.page import commit, machine
from pgfleet.console.local import embedded
from pgfleet.schema.database.migrate import migrate
from pgfleet.schema.database.sessions import open_session
from pgfleet.schema.queue.kernel import Connection

PAGE = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- Steady: written by `python -m bench steady --write` -->\n", "<!-- The end of steady -->\n"

INTERVAL_S, SENDS_PER_S = 30, 10
LOOK_S, PARTS, END_S = 5.0, 6, 120.0
# Half of what a node may be silent for: if heartbeats waited for longer, the sweep would mark nobody (144). And what is
# no wait.
LAG_MAX_S, LAG_S = 150.0, 0.5

DAYS, ROWS_A_DAY = 6, 100_000
OF_BEFORE: dict[str, LiteralString] = {
    "autoscaler.node_heartbeats": "(node_id, status, timestamp) select 1 + n %% 1000, 'ok', %(at)s",
    "autoscaler.metrics": """
        (node_id, metric_type, value, unit, timestamp) select 1 + n %% 1000, 'cpu', 1, 'percent', %(at)s""",
    "autoscaler.pool_analytics": """
        (pool_id, node_id, oracle_pool_id, current_instances, active_instances, avg_cpu_utilization,
          avg_memory_utilization, timestamp)
        select 1 + n %% 1000, 1 + n %% 1000, 'pool', 1, 1, 1, 1, %(at)s""",
    "public.heartbeat_ids": "(id, sent_at, at) select gen_random_uuid(), %(at)s, %(at)s",
}
# One of a hundred heartbeats has an error, and the next of its node has none: both are moves.
MOVES_A_SECOND = 100
BY_ROWS: dict[str, LiteralString] = {
    "public.status_history": """
        (machine, row_id, from_status, to_status, reason, actor, at)
        select 'node', '1', 'ACTIVE', 'ERROR', 'of before', 'bench', of_before.at""",
    "autoscaler.node_lifecycle_logs": """
        (node_id, event_type, previous_status, new_status, timestamp)
        select 1, 'RECOVERED', 'ERROR', 'ACTIVE', of_before.at at time zone 'UTC'""",
}
OVERDUE = """
  from generate_series(1, %(rows)s) n,
    lateral (select public.fleet_now() - interval '1 day' + make_interval(secs => n / %(per_s)s::float8)) of_before (at)
"""
TODAY = "select (now() at time zone 'UTC')::date"
MAKE_DAY = "select public.make_day_partition(table_name, time_column, %s) from public.retention where table_name = %s"
KEEP = "update public.retention set keep = %s where table_name = any (%s)"
A_DAY_LESS = """
update public.retention set keep = keep - interval '1 day', next_at = public.fleet_now() where table_name = any (%s)
"""

TAKEN = "select coalesce(last_value, 0) from pg_sequences where sequencename = 'node_heartbeats_id_seq'"
LOOK = """
select (select count(*) from pgmq.q_node_heartbeats), extract(epoch from public.heartbeat_lag())::float8,
  pg_total_relation_size('pgmq.q_node_heartbeats') / 1e6::float8,
  (select count(*) from pg_inherits join pg_class c on c.oid = inhrelid
   where inhparent = any (%s::text[]::regclass[])
     and to_date(substring(c.relname::text from '_p([0-9]{8})$'), 'YYYYMMDD') < (now() at time zone 'UTC')::date),
  (select count(*) from public.status_history where at < public.fleet_now() - interval '1 day') +
  (select count(*) from autoscaler.node_lifecycle_logs
   where timestamp < (public.fleet_now() - interval '1 day') at time zone 'UTC')
"""
CHECK = """
select (select count(*) from autoscaler.node_heartbeats where heartbeat_id is not null),
  (select count(distinct heartbeat_id) from autoscaler.node_heartbeats),
  (select count(*) from public.dead_letters where queue = 'node_heartbeats'),
  (select count(*) from autoscaler.node_lifecycle_logs where event_type = 'WENT_OFFLINE'),
  (select count(*) from public.retention where problem is not null)
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What is there at a time; `sent`, `taken`, CPU and WAL count from the beginning.

    `days` are those of before, in all tables; the old ones of tables without days are rows.
    """

    at: float
    sent: int
    taken: int
    waiting: int
    lag_s: float
    queue_mb: float
    days: int
    old_rows: int
    worker_mb: float
    worker_s: float
    server_s: float
    wal_bytes: int


@dataclass
class Sender:
    """Sends so many a second in a thread, and catches up where it was late."""

    dsn: str
    nodes: int
    rate: int
    sent: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    trouble: Exception | None = None

    def run(self) -> None:
        try:
            self._send()
        except Exception as error:  # noqa: BLE001  # told where the thread is waited for
            self.trouble = error

    def _send(self) -> None:
        began = time.monotonic()
        with open_session(self.dsn, autocommit=True) as conn:
            while not self.stopping.wait(1 / SENDS_PER_S):
                due = int((time.monotonic() - began) * self.rate)
                conn.execute(SEND % {"nodes": self.nodes, "first": self.sent + 1, "last": due})
                self.sent = due


def measure(*, rate: int = 5_000, minutes: float = 60, write: bool = False) -> dict[str, Any]:
    """Send so many a second for so long; with `write`, into the page.

    Raises:
        SystemExit: it did not keep up; or a heartbeat was lost or counted twice, or a node was taken for silent.
    """
    load = os.getloadavg()[0]
    with embedded.temporary(f"pgfleet-bench-{os.getpid()}-") as data:
        dsn = embedded.start(data)
        migrate(dsn)
        # One less than a round number: another node has the error each time, and both moves are in its history.
        nodes = rate * INTERVAL_S - 1
        with open_session(dsn, autocommit=True, longest_s=None) as conn:
            _set_up(conn, nodes, minutes * 60)
            looks = _run(conn, Sender(dsn, nodes, rate), minutes * 60)
            found = conn.execute(CHECK).fetchone()
    last, parts = looks[-1], [_part(part) for part in _parts(looks)]
    figures = {"sent": last.sent, "parts": parts}
    broken = {
        "not all could be sent": last.sent < 0.99 * rate * minutes * 60,
        "heartbeats wait for longer and longer": parts[-1]["lag_p50_s"] > max(2 * parts[0]["lag_p50_s"], LAG_S),
        "one waited for too long": max(part["lag_max_s"] for part in parts) > LAG_MAX_S,
        "some wait still": last.waiting > 0,
        "days of before are there": last.days > 0,
        f"counted, once each, dead letters, marked silent, not tidied: {found}": found
        != (last.sent, last.sent, 0, 0, 0),
    }
    if any(broken.values()):
        raise SystemExit(json.dumps({"broken": [what for what, is_so in broken.items() if is_so], **figures}))
    if write:
        put(PAGE, BEGIN, END, told(figures, rate, minutes, machine(load)))
    return {"bench": "steady", "rate": rate, "minutes": minutes, **figures}


def _set_up(conn: Connection, nodes: int, span_s: float) -> None:
    # As growing.md has it for a fleet of that size.
    conn.execute("alter system set max_wal_size = '16GB'")
    conn.execute("select pg_reload_conf()")
    conn.execute(FLEET % {"nodes": nodes})
    ((today,),) = conn.execute(TODAY).fetchall()
    conn.execute(KEEP, (timedelta(days=DAYS + 1), list(OF_BEFORE)))
    conn.execute(KEEP, (timedelta(days=1), list(BY_ROWS)))
    for table, values in OF_BEFORE.items():
        for day in (today - timedelta(days=ago + 2) for ago in range(DAYS)):
            conn.execute(MAKE_DAY, (day, table))
            at = datetime(day.year, day.month, day.day, 12)  # noqa: DTZ001  # as the column has it
            conn.execute(f"insert into {table} {values} from generate_series(1, {ROWS_A_DAY}) n".encode(), {"at": at})
    for table, values in BY_ROWS.items():
        number = MOVES_A_SECOND * int(span_s)
        conn.execute(f"insert into {table} {values} {OVERDUE}".encode(), {"per_s": MOVES_A_SECOND, "rows": number})
    conn.execute("vacuum analyze")
    conn.execute("checkpoint")


def _run(conn: Connection, sender: Sender, span_s: float) -> list[Look]:
    """What was seen meanwhile, to when nothing waits any more."""
    worker, looks = Worker(sender.dsn, {}), list[Look]()
    worker.start()
    shorter = [span_s * number / (DAYS + 2) for number in range(1, DAYS + 1)]
    try:
        with _sending(sender):
            began = time.monotonic()
            while (now := time.monotonic() - began) < span_s:
                while shorter and shorter[0] < now:
                    shorter.pop(0)
                    conn.execute(A_DAY_LESS, (list(OF_BEFORE),))
                looks.append(_look(conn, sender, worker, now))
                time.sleep(LOOK_S)
        deadline = time.monotonic() + END_S
        while (last := _look(conn, sender, worker, time.monotonic() - began)).waiting and time.monotonic() < deadline:
            time.sleep(0.5)
    finally:
        worker.kill()
    return [*looks, last]


@contextmanager
def _sending(sender: Sender) -> Iterator[None]:
    thread = threading.Thread(target=sender.run)
    thread.start()
    try:
        yield
    finally:
        sender.stopping.set()
        thread.join()
    if sender.trouble is not None:
        raise sender.trouble


def _look(conn: Connection, sender: Sender, worker: Worker, at: float) -> Look:
    assert worker.process is not None
    sent = sender.sent
    ((taken,),) = conn.execute(TAKEN).fetchall()
    ((waiting, lag_s, queue_mb, days, old_rows),) = conn.execute(LOOK, (list(OF_BEFORE),)).fetchall()
    used = worker.resident_mb(), cpu_s(worker.process), database.server_cpu_s(conn), database.wal_bytes(conn)
    taken -= DAYS * ROWS_A_DAY
    return Look(at, sent, taken, waiting, lag_s, queue_mb, days, old_rows, *used)


def _parts(looks: Sequence[Look]) -> list[Sequence[Look]]:
    """Those of each part of the time; each begins with the last of the one before."""
    bounds = [round(number * (len(looks) - 1) / PARTS) for number in range(PARTS + 1)]
    return [looks[first : last + 1] for first, last in pairwise(bounds)]


def _part(looks: Sequence[Look]) -> dict[str, float]:
    first, last = looks[0], looks[-1]
    span_s = last.at - first.at
    lags = sorted(look.lag_s for look in looks)
    return {
        "until_min": round(last.at / 60, 1),
        "sent_per_s": round((last.sent - first.sent) / span_s),
        "taken_per_s": round((last.taken - first.taken) / span_s),
        "lag_p50_s": round(lags[len(lags) // 2], 2),
        "lag_max_s": round(lags[-1], 2),
        "waiting_max": max(look.waiting for look in looks),
        "queue_mb": round(last.queue_mb),
        "days_dropped": first.days - last.days,
        "old_rows_max": max(look.old_rows for look in looks),
        "worker_mb": round(last.worker_mb),
        "worker_cores": round((last.worker_s - first.worker_s) / span_s, 2),
        "server_cores": round((last.server_s - first.server_s) / span_s, 2),
        "wal_mb_per_s": round((last.wal_bytes - first.wal_bytes) / span_s / 1e6, 1),
    }


# What is told of each part, by its name in the figures.
COLUMNS = {
    "until_min": "until, min",
    "sent_per_s": "sent a second",
    "taken_per_s": "taken a second",
    "lag_p50_s": "the oldest waits, s, half",
    "lag_max_s": "longest",
    "queue_mb": "queue with its room, MB",
    "days_dropped": "days dropped",
    "old_rows_max": "rows that were too old",
    "worker_mb": "worker, MB",
    "worker_cores": "its cores",
    "server_cores": "cores of PostgreSQL and of sending",
    "wal_mb_per_s": "WAL, MB/s",
}


def told(figures: dict[str, Any], rate: int, minutes: float, of: str) -> str:
    lines = [list(COLUMNS.values()), ["---"] * len(COLUMNS)]
    lines += [[f"{part[name]:,}" for name in COLUMNS] for part in figures["parts"]]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return (
        f"Measured on {of}, commit {commit()}: {figures['sent']:,} heartbeats of {rate * INTERVAL_S - 1:,} nodes, "
        f"{rate:,} a second for {minutes:g} minutes. Each was counted once; none became a dead letter, and no node was "
        f"taken for silent.\n\n{table}"
    )
