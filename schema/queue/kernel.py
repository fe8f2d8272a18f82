"""The queue kernel: the statements that claim, hold, settle and give back messages.

All of them run on PGMQ's own tables, beside any other PGMQ client. A claimed message belongs to whoever
knows its token `(msg_id, read_ct)`; every statement here that changes one asks for that token.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal
from psycopg.types.json import Jsonb, set_json_loads

Json: TypeAlias = Any
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Cursor: TypeAlias = psycopg.Cursor[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Token:
    """Proof of a claim: `read_ct` grows with each claim, so an older owner's token fits no more."""

    msg_id: int
    read_ct: int


@dataclass(frozen=True, slots=True)
class UnreadableJson:
    """JSON that the database takes and Python does not: nested too deep, or a number of too many digits."""

    text: str = field(repr=False)

    def __str__(self) -> str:
        return f"unreadable JSON of {len(self.text)} characters, beginning {self.text[:60]}"


@dataclass(frozen=True, slots=True)
class Message:
    """A claimed message as it lies in the queue; body and headers may be any JSON, or NULL, and hold secrets."""

    token: Token
    enqueued_at: datetime
    body: Json = field(repr=False)
    headers: Json = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send; `at` is None for now."""

    body: Json = field(repr=False)
    at: datetime | None = None
    headers: Json = field(default=None, repr=False)


@lru_cache
def _on(queue: str, statement: LiteralString) -> Composed:
    return SQL(statement).format(q=Identifier("pgmq", f"q_{queue}"), name=Literal(queue))


CLAIM: LiteralString = """
with picked as (
  select msg_id from {q}
  where vt <= public.fleet_now()
  order by vt, msg_id
  limit %s
  for update skip locked
), claimed as (
  update {q} q
  set vt = public.fleet_now() + %s, read_ct = q.read_ct + 1, last_read_at = public.fleet_now()
  from picked
  where q.msg_id = picked.msg_id
  returning q.msg_id, q.read_ct, q.enqueued_at, q.message, q.headers
)
select c.*, null
from claimed c, set_config(
  'synchronous_commit', case when %s then current_setting('synchronous_commit') else 'off' end, true)
union all
select null, null, null, null, null, extract(epoch from min(vt) - public.fleet_now())::float8
from {q} where vt > public.fleet_now() and not exists (select from claimed)
"""


def claim(
    conn: Connection, queue: str, limit: int, lease: timedelta, *, durable: bool = True
) -> tuple[list[Message], float | None]:
    """Take up to `limit` messages that are due, oldest first; they are ours until `lease` has passed.

    Commits by itself, as a claim that is rolled back would forget that the message was read. Where there are no
    effects it need not be `durable`: what a crash of the server forgets is only a message that is due again, and the
    row takes one of two owners with the same token. With effects, two must never think that they own it.

    Returns:
        The messages; and where there are none, the seconds until one is due (a lease that ends counts).
    """
    cursor = conn.cursor()
    set_json_loads(read_json, cursor)
    rows = cursor.execute(_on(queue, CLAIM), (limit, lease, durable)).fetchall()
    if len(rows) == 1 and rows[0][0] is None:
        return [], rows[0][5]
    claimed = [Message(Token(row[0], row[1]), row[2], row[3], row[4]) for row in rows if row[0] is not None]
    return sorted(claimed, key=lambda message: message.token.msg_id), None


EXTEND: LiteralString = """
with held as (
  select q.msg_id from {q} q
  join unnest(%s::bigint[], %s::integer[]) as t (msg_id, read_ct) using (msg_id, read_ct)
  order by q.msg_id
  for update of q skip locked
)
update {q} q set vt = public.fleet_now() + %s from held where q.msg_id = held.msg_id
returning q.msg_id, q.read_ct
"""


def extend(conn: Connection, queue: str, tokens: Sequence[Token], lease: timedelta) -> set[Token]:
    """Renew the lease of what is still ours; the tokens renewed. One being settled right now is skipped."""
    rows = conn.execute(_on(queue, EXTEND), (*_columns(tokens), lease)).fetchall()
    return {Token(*row) for row in rows}


DELETE: LiteralString = """
with held as (
  select q.msg_id from {q} q
  join unnest(%s::bigint[], %s::integer[]) as t (msg_id, read_ct) using (msg_id, read_ct)
  order by q.msg_id
  for update of q
)
delete from {q} q using held where q.msg_id = held.msg_id
returning q.msg_id
"""


def delete(conn: Connection, queue: str, tokens: Sequence[Token]) -> Cursor:
    """Delete the messages whose tokens still fit, locking in id order; rows: their ids."""
    return conn.execute(_on(queue, DELETE), _columns(tokens))


PUT_BACK: LiteralString = """
update {q} q
set vt = public.fleet_now() + b.delay, headers = b.headers
from unnest(%s::bigint[], %s::integer[], %s::interval[], %s::jsonb[]) as b (msg_id, read_ct, delay, headers)
where q.msg_id = b.msg_id and q.read_ct = b.read_ct
returning q.msg_id
"""


def put_back(
    conn: Connection, queue: str, tokens: Sequence[Token], delays: list[timedelta], headers: list[Json]
) -> Cursor:
    """Make messages that are still ours visible again after their delays, with new headers."""
    given = [jsonb(value) for value in headers]
    return conn.execute(_on(queue, PUT_BACK), (*_columns(tokens), delays, given))


SEND: LiteralString = """
insert into {q} (vt, message, headers)
select coalesce(m.vt, public.fleet_now()), m.message, m.headers
from unnest(%s::timestamptz[], %s::jsonb[], %s::jsonb[]) as m (vt, message, headers)
returning msg_id
"""


def send(conn: Connection, queue: str, messages: Sequence[Outgoing]) -> Cursor:
    """Insert messages, in the caller's transaction; rows: their ids, in order."""
    bodies = [jsonb(message.body) for message in messages]
    headers = [jsonb(message.headers) for message in messages]
    return conn.execute(_on(queue, SEND), ([message.at for message in messages], bodies, headers))


BURY: LiteralString = """
insert into public.dead_letters (queue, msg_id, row_id, message, headers, reason, attempts, enqueued_at)
select {name}, d.* from unnest(
  %s::bigint[], %s::text[], %s::jsonb[], %s::jsonb[], %s::text[], %s::integer[], %s::timestamptz[]
) as d
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    message: Message
    row_id: str | None
    reason: str
    attempts: int


def bury(conn: Connection, queue: str, letters: Sequence[DeadLetter]) -> Cursor:
    """Write dead letters; deleting their messages is the caller's, in the same transaction."""
    return conn.execute(
        _on(queue, BURY),
        (
            [letter.message.token.msg_id for letter in letters],
            [letter.row_id for letter in letters],
            [jsonb(letter.message.body) for letter in letters],
            [jsonb(letter.message.headers) for letter in letters],
            [letter.reason for letter in letters],
            [letter.attempts for letter in letters],
            [letter.message.enqueued_at for letter in letters],
        ),
    )


DUE: LiteralString = """
with due as (
  select name, message from public.periodic
  where queue = {name} and next_at <= public.fleet_now()
  order by name
  for update skip locked
), sent as (
  insert into {q} (vt, message) select public.fleet_now(), message from due
)
update public.periodic p set next_at = greatest(p.next_at + p.every, public.fleet_now())
from due where p.name = due.name
returning p.name
"""


def send_due(conn: Connection, queue: str) -> list[str]:
    """Turn the queue's due periodic rows into messages; their names."""
    return [row[0] for row in conn.execute(_on(queue, DUE)).fetchall()]


def keep_house(conn: Connection) -> str | None:
    """Tidy one table that grows (103), if it is some table's turn; its name."""
    row = conn.execute("select public.keep_house()").fetchone()
    return row[0] if row else None


# A row that somebody holds for longer is somebody's open transaction; the batch goes on without it.
LOCK_TIMEOUT = "5s"


def sign(conn: Connection, actor: str, timeout_s: float, lock_timeout: str = LOCK_TIMEOUT) -> Cursor:
    """Say who writes in this transaction, and for how long a statement may take, and wait for a row."""
    return conn.execute(
        "select set_config('pgfleet.actor', %s, true), set_config('statement_timeout', %s, true),"
        " set_config('lock_timeout', %s, true)",
        (actor, f"{int(timeout_s * 1000)}ms", lock_timeout),
    )


def _columns(tokens: Sequence[Token]) -> tuple[list[int], list[int]]:
    return [token.msg_id for token in tokens], [token.read_ct for token in tokens]


def jsonb(value: Json) -> Jsonb | None:
    if isinstance(value, UnreadableJson):
        return Jsonb(value.text, dumps=str)
    return None if value is None else Jsonb(value)


def read_json(data: str | bytes) -> Json:
    """One message that can't be decoded must not take the others of its claim with it."""
    try:
        return json.loads(data)
    except (RecursionError, ValueError):
        return UnreadableJson(data if isinstance(data, str) else bytes(data).decode())
