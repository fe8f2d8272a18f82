"""A small kind for the tests of the runtime: one table, and steps that a test scripts message by message."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import psycopg
import sqlalchemy as sa
from fleet import Connection, Worker, settings_for, worker_on
from psycopg.types.json import Jsonb

from schema.kernel import Connection as KernelConnection
from schema.messages import Message, read_message
from schema.rows import Row, ask_rows, rows_of
from workers.runtime.hand import Delivery
from workers.runtime.kind import Kind, Occasion
from workers.runtime.outcomes import (
    Advance,
    Done,
    LeaseLostError,
    Move,
    NeverError,
    New,
    Outcome,
    Reject,
    Send,
    TryAgainError,
    Wait,
    advance,
)
from workers.runtime.settle import Author, Settled, Unit, settle

QUEUE = "small_jobs"
EVENTS = "small_events"
AUTHOR = Author("small@test", 30)
NEXT = {"ready": "running", "running": "done"}

jobs = sa.Table(
    "small_jobs",
    sa.MetaData(schema="public"),
    sa.Column("job_id", sa.BigInteger, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_reason", sa.Text),
    sa.Column("status_msg_id", sa.BigInteger),
    sa.Column("note", sa.String(10)),
    sa.Column("weight", sa.Integer),
    sa.Column("big", sa.Text),
)

SET_UP = """
create table public.small_jobs (
  job_id bigint primary key,
  status text not null,
  status_reason text,
  status_msg_id bigint,
  note varchar(10),
  weight integer check (weight >= 0),
  big text
);
insert into public.moves values
  ('small_job', '(new)', 'ready', ''), ('small_job', 'ready', 'running', ''), ('small_job', 'running', 'done', ''),
  ('small_job', 'ready', 'failed', ''), ('small_job', 'running', 'failed', '');
select public.guard_machine('public.small_jobs', 'small_job', 'job_id');
select public.create_queue('small_jobs'), public.create_queue('small_events');
select public.ring_on_send('small_jobs');
"""

CLEAN = """
truncate pgmq.q_small_jobs, pgmq.q_small_events, public.dead_letters, public.periodic, public.small_jobs;
delete from public.status_history;
create or replace function public.fleet_now() returns timestamptz language sql stable parallel safe
as 'select statement_timestamp()';
"""

BROKEN_HISTORIES = """
with steps as (
  select row_id, from_status, to_status,
    lag(to_status, 1, '(new)') over (partition by row_id order by history_id) as before,
    last_value(to_status) over (
      partition by row_id order by history_id rows between unbounded preceding and unbounded following) as last
  from public.status_history where machine = 'small_job'
)
select j.job_id from public.small_jobs j
left join steps s on s.row_id = j.job_id::text
where s.row_id is null or s.from_status <> s.before or s.last <> j.status
"""


class Do(Message):
    """`n` is a second job's id, or a number that the script has a use for."""

    action: Literal["do"]
    job_id: int
    script: str = "advance"
    n: int = 0


@dataclass(frozen=True, slots=True)
class View:
    now: datetime
    rows: dict[int, Row]


@dataclass(frozen=True)
class Tools:
    """What the steps saw, in order; and what a test wants to happen within them."""

    seen: list[tuple[int, str | None]] = field(default_factory=list)
    during: list[Callable[[Do], Any]] = field(default_factory=list)


def load(conn: KernelConnection, messages: Sequence[Do]) -> View:
    keys = [message.job_id for message in messages]
    others = [message.n for message in messages if message.script == "both"]
    with conn.pipeline():
        now = conn.execute("select public.fleet_now()")
        rows = ask_rows(conn, jobs, [*keys, *others])
    first = now.fetchone()
    assert first is not None
    return View(first[0], rows_of(jobs, rows))


def step(message: Do, view: View, tools: Tools, _occasion: Occasion) -> Outcome:
    row = view.rows.get(message.job_id)
    tools.seen.append((message.job_id, None if row is None else row.status))
    for callback in tools.during:
        callback(message)
    if row is None:
        return Advance((New(jobs, "ready", "made", {"job_id": message.job_id}),))
    outcome: Outcome = SCRIPTS[message.script](message, row, view)
    return outcome


def _onward(message: Do, row: Row, _view: View) -> Outcome:
    if row.status not in NEXT:
        return Done("nothing to do")
    return advance(row, NEXT[row.status], f"step {message.n}")


def _with_values(**values: Any) -> Callable[[Do, Row, View], Outcome]:
    return lambda _message, row, _view: advance(row, NEXT[row.status], "with values", values)


def _follow(message: Do, row: Row, view: View) -> Outcome:
    then = (
        Send({"action": "do", "job_id": message.job_id, "n": 1}),
        Send({"action": "do", "job_id": message.job_id, "n": 2}, view.now + timedelta(hours=1)),
        Send({"told": message.job_id}, queue=EVENTS),
    )
    return advance(row, NEXT[row.status], "followed", then=then)


def _both(message: Do, row: Row, view: View) -> Outcome:
    other = view.rows[message.n]
    return Advance((Move(row, NEXT[row.status], "both"), Move(other, NEXT.get(other.status, "done"), "both")))


def _wait(message: Do, row: Row, view: View) -> Outcome:
    shown = Move(row, None, values={"note": f"waiting {message.n}"})
    return Wait("waiting", view.now + timedelta(seconds=60), (shown,))


def _lost_queue(_message: Do, row: Row, _view: View) -> Outcome:
    return advance(row, NEXT[row.status], "told nobody", then=(Send({}, queue="no_such_queue"),))


def _unsendable(_message: Do, row: Row, _view: View) -> Outcome:
    return advance(row, NEXT[row.status], "told nobody", then=(Send({"at": object()}),))


def _raise(error: Exception) -> Callable[[Do, Row, View], Outcome]:
    def script(_message: Do, _row: Row, _view: View) -> Outcome:
        raise error

    return script


SCRIPTS: dict[str, Callable[[Do, Row, View], Any]] = {
    "advance": _onward,
    "follow": _follow,
    "both": _both,
    "wait": _wait,
    "done": lambda _message, _row, _view: Done("nothing to do"),
    "reject": lambda _message, _row, _view: Reject("nobody can do this"),
    "raise": _raise(RuntimeError("broken")),
    "never": _raise(NeverError("the outside never will")),
    "again": _raise(TryAgainError("busy")),
    "again_after": _raise(TryAgainError("busy", after_s=30)),
    "again_after_ages": _raise(TryAgainError("busy", after_s=1e300)),
    "unwritable": _raise(NeverError("bytes \0 and \udc80")),
    "lease_lost": _raise(LeaseLostError("gone")),
    "illegal": lambda _message, row, _view: advance(row, "ready" if row.status == "running" else "done", "illegal"),
    "too_long": _with_values(note="eleven char"),
    "negative": _with_values(weight=-1),
    "zero_byte": _with_values(note="a\0b"),
    "surrogate": _with_values(note="\udc80"),
    "huge": _with_values(big="x" * 512 * 1024),
    "no_queue": _lost_queue,
    "unsendable": _unsendable,
    "nothing": lambda _message, _row, _view: None,
    "no_changes": lambda _message, _row, _view: Advance(()),
}


def _fail(message: Do, view: View, reason: str) -> Outcome | None:
    row = view.rows.get(message.job_id)
    return None if row is None else advance(row, "failed", reason)


def small_kind(tools: Tools | None = None, **given: Any) -> Kind[Do, View, Tools]:
    opened = tools or Tools()
    kind = Kind(
        name="small_job",
        queue=QUEUE,
        read=lambda body: read_message(body, {"do": Do}),
        key=lambda message: str(message.job_id),
        load=load,
        step=step,
        fail=_fail,
        limit=lambda _message, _view, settings: settings.attempts,
        tools=lambda _settings: nullcontext(opened),
        batch=50,
        once=lambda _message: True,
    )
    return replace(kind, **given)


def do(job_id: int, script: str = "advance", n: int = 0) -> dict[str, Any]:
    return {"action": "do", "job_id": job_id, "script": script, "n": n}


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


def moving(delivery: Delivery, *rows: Row) -> Unit:
    """What is written for a message that moves these rows one on."""
    changes = tuple(Move(row, NEXT[row.status], "moved") for row in rows)
    return Unit(delivery, "advance", "moved", changes)


@contextmanager
def small_world(dsn: str) -> Iterator[Small]:
    """The small kind in a database that has its tables (`SET_UP`), emptied first."""
    tools = Tools()
    with (
        psycopg.connect(dsn, autocommit=True, options="-c lock_timeout=5s") as conn,
        worker_on(small_kind(tools), settings_for(dsn, backoff_s=5)) as worker,
    ):
        conn.execute(CLEAN)
        yield Small(dsn, conn, worker, tools)
