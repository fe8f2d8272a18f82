"""A small kind for the tests of the runtime: one table, and steps that a test scripts message by message."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, Literal

import sqlalchemy as sa

from pgfleet.schema.messages import Message, read_message
from pgfleet.schema.queue.kernel import Connection as KernelConnection
from pgfleet.schema.rows.row import Row, ask_rows, rows_of
from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.kind import Kind, Turn
from pgfleet.workers.runtime.outcomes import (
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

QUEUE = "small_jobs"
EVENTS = "small_events"
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
select public.make_claim('small_jobs');
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


def load(conn: KernelConnection, messages: Sequence[Do], settings: Settings) -> View:  # a load
    keys = [message.job_id for message in messages]
    others = [message.n for message in messages if message.script == "both"]
    with conn.pipeline():
        now = conn.execute("select public.fleet_now()")
        rows = ask_rows(conn, jobs, [*keys, *others])
    first = now.fetchone()
    assert first is not None
    return View(first[0], rows_of(jobs, rows))


def step(message: Do, turn: Turn[View, Tools]) -> Outcome:
    row = turn.view.rows.get(message.job_id)
    turn.tools.seen.append((message.job_id, None if row is None else row.status))
    for callback in turn.tools.during:
        callback(message)
    if row is None:
        return Advance((New(jobs, "ready", "made", {"job_id": message.job_id}),))
    outcome: Outcome = SCRIPTS[message.script](message, row, turn.view)
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


# A step that hangs sets the one, and goes on when the other is set.
STUCK, UNSTUCK = Event(), Event()


def _hang(message: Do, row: Row, view: View) -> Outcome:
    STUCK.set()
    UNSTUCK.wait()
    return _onward(message, row, view)


def _gate(message: Do, row: Row, view: View) -> Outcome:
    """Goes on when the test has made the file."""
    while not Path(os.environ["SMALL_GATE"]).exists():
        time.sleep(0.01)
    return _follow(message, row, view)


def _die(_message: Do, _row: Row, _view: View) -> Outcome:
    """Ends the process and all of its group: of a worker that is a process only."""
    os.killpg(os.getpgid(0), signal.SIGKILL)
    raise AssertionError


SCRIPTS: dict[str, Callable[[Do, Row, View], Any]] = {
    "advance": _onward,
    "hang": _hang,
    "gate": _gate,
    "die": _die,
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
        tools=lambda _settings, _breakers: nullcontext(opened),
        batch=50,
        ids=("job_id",),
        once=lambda _message: True,
    )
    return replace(kind, **given)


def do(job_id: int, script: str = "advance", n: int = 0) -> dict[str, Any]:
    return {"action": "do", "job_id": job_id, "script": script, "n": n}
