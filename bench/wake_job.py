"""A kind whose step notes when it began, on the clock that all processes of a machine share."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from schema.kernel import Connection
from schema.messages import Message, read_message
from schema.rows import Row, ask_rows, rows_of
from workers.runtime.kind import Kind, Occasion
from workers.runtime.outcomes import Done, Outcome, advance
from workers.runtime.serve import serve

wakes = sa.Table(
    "bench_wakes",
    sa.MetaData(schema="public"),
    sa.Column("wake_id", sa.BigInteger, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_reason", sa.Text),
    sa.Column("status_msg_id", sa.BigInteger),
    sa.Column("started_ns", sa.BigInteger),
)

SET_UP = """
create table public.bench_wakes (
  wake_id bigint primary key,
  status text not null,
  status_reason text,
  status_msg_id bigint,
  started_ns bigint
);
insert into public.moves values
  ('bench_wake', '(new)', 'asleep', ''), ('bench_wake', 'asleep', 'awake', '');
select public.guard_machine('public.bench_wakes', 'bench_wake', 'wake_id');
select public.create_queue('bench_wakes');
select public.ring_on_send('bench_wakes');
"""


class Wake(Message):
    action: Literal["wake"]
    wake_id: int


@dataclass(frozen=True, slots=True)
class View:
    now: datetime
    rows: dict[int, Row]


def load(conn: Connection, messages: Sequence[Wake]) -> View:
    with conn.pipeline():
        now = conn.execute("select public.fleet_now()")
        rows = ask_rows(conn, wakes, [message.wake_id for message in messages])
    first = now.fetchone()
    assert first is not None
    return View(first[0], rows_of(wakes, rows))


def step(message: Wake, view: View, _tools: None, _occasion: Occasion) -> Outcome:
    started_ns = time.monotonic_ns()
    row = view.rows.get(message.wake_id)
    if row is None or row.status != "asleep":
        return Done("nothing to do")
    return advance(row, "awake", "woken", {"started_ns": started_ns})


def _read(body: Any) -> Wake:
    return read_message(body, {"wake": Wake})


KIND = Kind(
    name="bench_wake",
    queue="bench_wakes",
    read=_read,
    key=lambda message: str(message.wake_id),
    load=load,
    step=step,
    fail=lambda _message, _view, _reason: None,
    limit=lambda _message, _view, settings: settings.attempts,
    tools=lambda _settings: nullcontext(),
    batch=200,
)

actor = serve(KIND)
