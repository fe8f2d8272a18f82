"""The smallest kind there is, served by the program's own runtime: one message moves one row, which notes when."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from bench.database import QUEUE, jobs
from pgfleet.schema.messages import Message, read_message
from pgfleet.schema.queue.kernel import Connection
from pgfleet.schema.rows.row import Row, ask_rows, rows_of
from pgfleet.schema.settings import Settings
from pgfleet.workers.runtime.kind import Kind, Turn
from pgfleet.workers.runtime.outcomes import Done, Outcome, advance
from pgfleet.workers.runtime.serve import serve


class Finish(Message):
    action: Literal["finish"]
    job_id: int


@dataclass(frozen=True, slots=True)
class View:
    now: datetime
    rows: dict[int, Row]


def load(conn: Connection, messages: Sequence[Finish], settings: Settings) -> View:  # noqa: ARG001  # a load
    with conn.pipeline():
        now = conn.execute("select public.fleet_now()")
        rows = ask_rows(conn, jobs, [message.job_id for message in messages])
    first = now.fetchone()
    assert first is not None
    return View(first[0], rows_of(jobs, rows))


def step(message: Finish, turn: Turn[View, None]) -> Outcome:
    started_ns = time.monotonic_ns()
    row = turn.view.rows.get(message.job_id)
    if row is None or row.status != "ready":
        return Done("nothing to do")
    return advance(row, "done", "finished", {"started_ns": started_ns})


def _read(body: Any) -> Finish:
    return read_message(body, {"finish": Finish})


KIND = Kind(
    name="bench_job",
    queue=QUEUE,
    read=_read,
    key=lambda message: str(message.job_id),
    load=load,
    step=step,
    fail=lambda _message, _view, _reason: None,
    limit=lambda _message, _view, settings: settings.attempts,
    tools=lambda _settings, _breakers: nullcontext(),
    batch=200,
)

actor = serve(KIND)
