"""The claim: which messages a worker takes, how many of them, and what it learns of each."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from psycopg.types.json import Jsonb, set_json_loads

from pgfleet.schema.queue.kernel import OURS, Connection, Json, Message, Token, ask
from pgfleet.schema.queue.reading import UnreadableJson, keep_json, read_json

# Steps add days to a time, and take them away: within these years Python and the driver can follow.
OLDEST, NEWEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_OLDEST_S, _NEWEST_S = OLDEST.timestamp(), NEWEST.timestamp()

# The time is asked for as a number: the driver reads no time beyond Python's, and none in a form of another DateStyle.
# Most messages have no headers of their own, and the mark alone is not worth reading.
#
# What is before a message in its claim bounds what is done for it, so that the first is always taken. Of 2 MiB as the
# queue keeps them it is told what they are unpacked, of 4 MiB unpacked what they are as text, and 1 MiB of text is
# loaded, with the message that exceeds it. A worker needs twenty times as much for what it reads, in each thread.
# What is larger than 1 MiB by itself (101) is claimed without being loaded, to be buried: nobody looks at it twice.
CLAIM: LiteralString = """
with picked as (
  select msg_id, message, headers, coalesce(pg_column_size(message), 0) + coalesce(pg_column_size(headers), 0) as kept
  from {q}
  where vt <= public.fleet_now() and not public.is_paused({name})
  order by vt, msg_id + 0
  limit %(limit)s
  for update skip locked
), unpacked as (
  select msg_id, message, headers, kept > 1048576 as too_large,
    case when kept <= 1048576 then pg_column_size(array[message, headers]) else 0 end as bytes
  from (select *, sum(least(kept, 1048576)) over (rows unbounded preceding) - kept as before from picked) p
  where before <= 2097152
  offset 0
), weighed as (
  select msg_id, case
    when too_large then 1048577
    when bytes <= 1024 then coalesce(octet_length(message::text), 0) + coalesce(octet_length(headers::text), 0)
    else least(coalesce(public.json_bytes(message), 0) + coalesce(public.json_bytes(headers), 0), 1048577) end as bytes
  from (select *, sum(bytes) over (rows unbounded preceding) - bytes as before from unpacked) u
  where before <= 4194304
  offset 0
), chosen as (
  select array_agg(msg_id) as ids, array_agg(msg_id) filter (where bytes > 1048576) as large
  from (select *, sum(bytes) filter (where bytes <= 1048576) over (rows unbounded preceding) as with_it from weighed) w
  where with_it - bytes <= 1048576 or bytes > 1048576
), claimed as (
  update {q} q
  set vt = public.fleet_now() + %(lease)s, last_read_at = public.fleet_now(),
    -- The number only has to be another one each time.
    read_ct = case when q.read_ct < 2147483647 then q.read_ct + 1 else 1 end,
    headers = case
      when q.headers is null or q.msg_id = any ((select large from chosen)::bigint[]) then %(alone)s::jsonb
      when jsonb_typeof(q.headers -> 'pgfleet') = 'object' then q.headers || jsonb_build_object('pgfleet',
        (q.headers -> 'pgfleet') || case when q.headers -> 'pgfleet' ? 'claim' then %(again)s::jsonb else %(mark)s end)
      when jsonb_typeof(q.headers) = 'object' then q.headers || %(alone)s
      else %(alone)s
    end
  where q.msg_id = any ((select ids from chosen)::bigint[])
  returning q.msg_id, q.read_ct, extract(epoch from q.enqueued_at)::float8,
    case when (q.msg_id = any ((select large from chosen)::bigint[])) is not true then q.message end,
    case when q.headers <> %(alone)s then q.headers end,
    q.read_ct <> 1 and q.headers #> '{{pgfleet,unanswered}}' is not null,
    (q.msg_id = any ((select large from chosen)::bigint[])) is true
)
select c.*, null
from claimed c, set_config(
  'synchronous_commit', case when %(durable)s then current_setting('synchronous_commit') else 'off' end, true)
union all
select null, null, null, null, null, null, null, extract(epoch from min(vt) - public.fleet_now())::float8
from {q} where vt > public.fleet_now() and vt < 'infinity' and not exists (select from claimed)
"""


def new_mark() -> str:
    return secrets.token_hex(8)


def claim(  # noqa: PLR0913  # what a claim says of itself is named
    conn: Connection, queue: str, limit: int, lease: timedelta, *, durable: bool = True, mark: str = ""
) -> tuple[list[Message], float | None]:
    """Take up to `limit` messages that are due, oldest first; they are ours until `lease` has passed.

    None while the queue is paused.

    Commits by itself, as a claim that is rolled back would forget that the message was read. Where there are no
    effects it need not be `durable`: what a crash of the server forgets is only a message that is due again, and the
    row takes one of two owners with the same token. With effects, two must never think that they own it. By its `mark`
    a claim whose answer was lost is found again.

    Returns:
        The messages; and where there are none, the seconds until one is due (a lease that ends counts).
    """
    mark = mark or new_mark()
    ours = {"claim": mark}
    cursor = conn.cursor()
    set_json_loads(keep_json, cursor)
    values = {
        "limit": limit,
        "lease": lease,
        "durable": durable,
        "mark": Jsonb(ours),
        "again": Jsonb({**ours, "unanswered": True}),
        "alone": Jsonb({OURS: ours}),
    }
    rows = ask(cursor, queue, CLAIM, values).fetchall()
    if len(rows) == 1 and rows[0][0] is None:
        return [], rows[0][7]
    claimed = [_message(row, mark) for row in rows if row[0] is not None]
    return sorted(claimed, key=lambda message: message.token.msg_id), None


def _message(row: tuple[Any, ...], mark: str) -> Message:
    msg_id, read_ct, enqueued_s, kept, headers, unanswered, too_large, _ = row
    unreadable = "" if _OLDEST_S <= enqueued_s < _NEWEST_S else "enqueued_at is not a time that a worker can read"
    enqueued_at = datetime.fromtimestamp(0 if unreadable else enqueued_s, UTC)
    theirs = None if headers is None else _unmarked(read_json(headers))
    if isinstance(theirs, UnreadableJson) and theirs.is_object:
        # Whoever has sent it is in there.
        unreadable = "headers: are nested too deep, or have a number of too many digits"
    return Message(Token(msg_id, read_ct), enqueued_at, kept, theirs, mark, unanswered, unreadable, too_large)


def _unmarked(headers: Json) -> Json:
    """Headers as they were before the claim."""
    if not isinstance(headers, dict):
        return headers
    theirs = {name: value for name, value in headers.items() if name != OURS}
    ours = {name: value for name, value in headers[OURS].items() if name not in {"claim", "unanswered"}}
    return {**theirs, OURS: ours} if ours else theirs or None
