"""The queue kernel: what a message is, and the statements that hold, settle and give back those that were claimed.

All of them run on PGMQ's own tables, beside any other PGMQ client. A claimed message belongs to whoever
knows its token `(msg_id, read_ct)`; every statement here that changes one asks for that token.

`read_ct` says no more than that: others read, too. What we did ourselves is in the headers, in our part of them: the
mark of the claim that has the message in hand, and how many steps of it were begun and not ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, LiteralString, NamedTuple, TypeAlias

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from pgfleet.schema.queue.arrays import array
from pgfleet.schema.queue.reading import jsonb, read_json

# Our part of a message's headers; other clients' headers are kept as they are.
OURS = "pgfleet"
Json: TypeAlias = Any
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Cursor: TypeAlias = psycopg.Cursor[tuple[Any, ...]]


class Token(NamedTuple):
    """Proof of a claim: `read_ct` grows with each claim, so an older owner's token fits no more."""

    msg_id: int
    read_ct: int


@dataclass(slots=True)
class Message:
    """A claimed message as it lay in the queue; body and headers may be any JSON, or NULL, and hold secrets.

    Nobody changes it; to make a frozen one takes five times as long.

    Attributes:
        kept: its body as text, which takes a twentieth of the memory that it may take when it is read.
        mark: of the claim; no other claim has it.
        unanswered: whether we have claimed it before, and never answered it: its worker may have died of it.
        unreadable: what of it can't be read, so that nobody will ever work on it.
        too_large: to be loaded by anybody; it has neither body nor headers here.
        due_at: since when it was due, on this process's monotonic clock.
    """

    token: Token
    enqueued_at: datetime
    kept: bytes | None = field(repr=False)
    headers: Json = field(repr=False)
    mark: str = ""
    unanswered: bool = False
    unreadable: str = ""
    too_large: bool = False
    due_at: float = 0.0

    @property
    def body(self) -> Json:
        """Read anew each time."""
        return None if self.kept is None else read_json(self.kept)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send; `at` is None for now."""

    body: Json = field(repr=False)
    at: datetime | None = None
    headers: Json = field(default=None, repr=False)


# `is true` keeps the tokens out of a join: they are looked up in a hash.
HELD: LiteralString = """
  select msg_id from {q}
  where msg_id = any (%(ids)s::bigint[])
    and ((msg_id, read_ct) in (select * from unnest(%(ids)s::bigint[], %(reads)s::integer[]))) is true
  order by msg_id
  for update"""


@lru_cache
def _on(queue: str, statement: LiteralString) -> Composed:
    q = Identifier("pgmq", f"q_{queue}")
    claim = Identifier(f"claim_{queue}")
    return SQL(statement).format(q=q, name=Literal(queue), claim=claim, held=SQL(HELD).format(q=q))


def ask(
    cursor: Cursor, queue: str, statement: LiteralString, values: Any = None, *, prepare: bool | None = False
) -> Cursor:
    """Ask with a plan of its own: one kept from when the queue was empty reads all of it, once it is full.

    Nor may a plan depend on statistics, which may be of an empty queue as well: messages are found by an array of
    numbers (`= any`), which leaves the planner no join to choose.
    """
    return cursor.execute(_on(queue, statement), values, prepare=prepare)


# Until somebody claims what was put back its token fits still: a renewal that comes after that would hide it for a
# lease. It has no mark any more, unless nobody has begun it since it was found unanswered.
EXTEND: LiteralString = """
with held as ({held} skip locked)
update {q} q set vt = public.fleet_now() + %(lease)s
where q.msg_id = any (array(select msg_id from held)) and q.headers #> '{{pgfleet,claim}}' is not null
returning q.msg_id, q.read_ct
"""


def extend(conn: Connection, queue: str, tokens: Sequence[Token], lease: timedelta) -> set[Token]:
    """Renew the lease of what is still ours; the tokens renewed. One being settled right now is skipped."""
    rows = ask(conn.cursor(), queue, EXTEND, {**_columns(tokens), "lease": lease}).fetchall()
    return {Token(*row) for row in rows}


DELETE: LiteralString = """
with held as ({held})
delete from {q} q where q.msg_id = any (array(select msg_id from held))
returning q.msg_id
"""


def delete(conn: Connection, queue: str, tokens: Sequence[Token]) -> Cursor:
    """Delete the messages whose tokens still fit, locking in id order; rows: their ids."""
    return ask(conn.cursor(), queue, DELETE, _columns(tokens))


PUT_BACK: LiteralString = """
update {q} q
set vt = coalesce(public.fleet_now() + b.delay, q.vt), headers = b.headers
from unnest(%(ids)s::bigint[], %(reads)s::integer[], %(delays)s::interval[], %(headers)s::jsonb[])
  as b (msg_id, read_ct, delay, headers)
where q.msg_id = any (%(ids)s::bigint[]) and q.msg_id = b.msg_id and q.read_ct = b.read_ct
returning q.msg_id
"""


def put_back(
    conn: Connection, queue: str, tokens: Sequence[Token], delays: Sequence[timedelta | None], headers: Sequence[Json]
) -> Cursor:
    """Make messages that are still ours visible again after their delays, with new headers; without one it stays ours.

    Rows: the ids of those that were.
    """
    given = [jsonb(value) for value in headers]
    return ask(conn.cursor(), queue, PUT_BACK, {**_columns(tokens), "delays": list(delays), "headers": given})


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
insert into public.dead_letters (queue, msg_id, row_id, message, headers, reason, attempts, enqueued_at, verdict)
select {name}, d.* from unnest(
  %s::bigint[], %s::text[], %s::jsonb[], %s::jsonb[], %s::text[], %s::integer[], %s::timestamptz[], %s::text[]
) as d
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that is given up; `rejected` where that is its sender's mistake, not a failure of ours."""

    message: Message
    row_id: str | None
    reason: str
    attempts: int
    rejected: bool = False


def bury(conn: Connection, queue: str, letters: Sequence[DeadLetter]) -> Cursor:
    """Write dead letters; deleting their messages is the caller's, in the same transaction."""
    return conn.execute(
        _on(queue, BURY),
        (
            [letter.message.token.msg_id for letter in letters],
            [letter.row_id for letter in letters],
            [jsonb(letter.message.kept) for letter in letters],
            [jsonb(letter.message.headers) for letter in letters],
            [letter.reason for letter in letters],
            [letter.attempts for letter in letters],
            [letter.message.enqueued_at for letter in letters],
            ["rejection" if letter.rejected else "failure" for letter in letters],
        ),
    )


# A row that somebody holds for longer is somebody's open transaction; the batch goes on without it.
LOCK_TIMEOUT = "5s"


def sign(conn: Connection, actor: str, timeout_s: float, lock_timeout: str = LOCK_TIMEOUT) -> Cursor:
    """Say who writes in this transaction, and for how long a statement may take, and wait for a row."""
    return conn.execute(
        "select set_config('pgfleet.actor', %s, true), set_config('statement_timeout', %s, true),"
        " set_config('lock_timeout', %s, true)",
        (actor, f"{int(timeout_s * 1000)}ms", lock_timeout),
    )


def _columns(tokens: Sequence[Token]) -> dict[str, Any]:
    return {"ids": array([token.msg_id for token in tokens]), "reads": array([token.read_ct for token in tokens])}
