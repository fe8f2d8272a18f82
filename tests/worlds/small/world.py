"""The small kind in a database: a worker in the test's thread, and what there is to see."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from pgfleet.schema.rows.row import Row, ask_rows, rows_of
from pgfleet.workers.runtime.outcomes import Move
from pgfleet.workers.runtime.settle import Author, Settled, Unit, settle
from pgfleet.workers.runtime.task import Task
from worlds.fleet import Connection, Worker, broken_histories, settings_for, worker_on
from worlds.small.kind import NEXT, QUEUE, Tools, jobs, small_kind

AUTHOR = Author("small@test", 30)


CLEAN = """
truncate pgmq.q_small_jobs, pgmq.q_small_events, public.dead_letters, public.small_jobs;
delete from public.periodic where queue = 'small_jobs';
delete from public.status_history;
create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe
as 'select statement_timestamp()';
"""


BROKEN_HISTORIES = broken_histories("small_job", "public.small_jobs", "job_id")


@dataclass(frozen=True)
class Small:
    """The small kind in a database: a connection for the test, a worker in its thread, and what there is to see."""

    dsn: str
    conn: Connection
    worker: Worker
    tools: Tools

    def job(self, job_id: int = 1, status: str = "ready") -> int:
        """A row, brought to its status by the moves before it."""
        self.conn.execute("insert into public.small_jobs (job_id, status) values (%s, 'ready')", (job_id,))
        for step_to in ["running", "done"][: ["ready", "running", "done"].index(status)]:
            self.conn.execute("update public.small_jobs set status = %s where job_id = %s", (step_to, job_id))
        return job_id

    def send(self, body: Any, headers: Any = None, delay_s: float = 0) -> int:
        statement = """
            insert into pgmq.q_small_jobs (vt, message, headers)
            values (public.fleet_now() + %s, %s, %s) returning msg_id"""
        values = (timedelta(seconds=delay_s), *(None if v is None else Jsonb(v) for v in (body, headers)))
        return int(self.one(statement, values))

    def one(self, statement: str, values: Any = None) -> Any:
        row = self.conn.execute(statement.encode(), values).fetchone()
        assert row is not None
        return row[0]

    def all(self, statement: str, values: Any = None) -> list[Any]:
        rows = self.conn.execute(statement.encode(), values).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    def status(self, job_id: int = 1) -> str:
        return str(self.one("select status from public.small_jobs where job_id = %s", (job_id,)))

    def queue(self) -> list[int]:
        return self.all("select msg_id from pgmq.q_small_jobs order by msg_id")

    def due_s(self, msg_id: int) -> float:
        """Seconds until a message is visible."""
        statement = (
            "select extract(epoch from vt - public.fleet_now())::float8 from pgmq.q_small_jobs where msg_id = %s"
        )
        return float(self.one(statement, (msg_id,)))

    def headers(self, msg_id: int) -> Any:
        return self.one("select headers from pgmq.q_small_jobs where msg_id = %s", (msg_id,))

    def letters(self) -> list[str]:
        return self.all("select reason from public.dead_letters order by dead_letter_id")

    def history(self, job_id: int = 1) -> list[str]:
        statement = "select to_status from public.status_history where row_id = %s order by history_id"
        return self.all(statement, (str(job_id),))

    def row(self, job_id: int = 1) -> Row:
        return rows_of(jobs, ask_rows(self.conn, jobs, [job_id]))[job_id]

    def settle(self, *units: Unit) -> Settled:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return settle(conn, QUEUE, units, AUTHOR)


def moving(task: Task, *rows: Row) -> Unit:
    """What is written for a message that moves these rows one on."""
    changes = tuple(Move(row, NEXT[row.status], "moved") for row in rows)
    return Unit(task, "advance", "moved", changes)


@contextmanager
def small_world(dsn: str) -> Iterator[Small]:
    """The small kind in a database that has its tables (`SET_UP`), emptied first."""
    tools = Tools()
    with (
        psycopg.connect(dsn, autocommit=True, options="-c lock_timeout=60s") as conn,
        worker_on(small_kind(tools), settings_for(dsn, backoff_s=5)) as worker,
    ):
        conn.execute(CLEAN)
        yield Small(dsn, conn, worker, tools)
