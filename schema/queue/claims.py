"""The claim: which messages a worker takes, how many of them, and what it learns of each."""

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from psycopg.types.json import set_json_loads

from pgfleet.schema.queue.front import Front
from pgfleet.schema.queue.kernel import OURS, Connection, Json, Message, Token, ask
from pgfleet.schema.queue.reading import UnreadableJson, keep_json, read_json

# Steps add days to a time, and take them away: within these years Python and the driver can follow.
OLDEST, NEWEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_OLDEST_S, _NEWEST_S = OLDEST.timestamp(), NEWEST.timestamp()

# The queue's function (106) says what is taken. A worker needs twenty times as much as the text of a claim for what
# it reads, in each thread, so that is bounded; what is larger than 1 MiB by itself is claimed without being loaded, to
# be buried: nobody looks at it twice. The time is a number there, as the driver reads no time beyond Python's, and none
# in a form of another DateStyle. Most messages have no headers of their own, and the mark alone is not worth reading.
CLAIM: LiteralString = (
    "select * from public.{claim}(%(most)s::integer, %(lease)s, %(durable)s, %(mark)s, %(since_s)s::float8)"
)


def new_mark() -> str:
    return secrets.token_hex(8)


def claim(  # noqa: PLR0913  # what a claim says of itself is named
    conn: Connection,
    queue: str,
    limit: int,
    lease: timedelta,
    *,
    durable: bool = True,
    mark: str = "",
    front: Front | None = None,
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
    cursor = conn.cursor()
    set_json_loads(keep_json, cursor)
    front, began = front or Front(), time.monotonic()
    since_s = front.since_s(began)
    values = {"most": limit, "lease": lease, "durable": durable, "mark": mark, "since_s": since_s}
    # The plans are the function's own, so that its call may be prepared: where the session prepares at all.
    rows = ask(cursor, queue, CLAIM, values, prepare=None).fetchall()
    now = time.monotonic()
    claimed = [_message(row, mark, now) for row in rows if row[0] is not None]
    # A queue that is paused answers nothing at all: nobody has looked.
    if rows and since_s is None:
        front.looked(began, now, min((message.due_at for message in claimed), default=None))
    due_s = rows[0][7] if len(rows) == 1 and not claimed else None
    return sorted(claimed, key=lambda message: message.token.msg_id), due_s


def _message(row: tuple[Any, ...], mark: str, now: float) -> Message:
    msg_id, read_ct, enqueued_s, kept, headers, unanswered, too_large, due_s = row
    unreadable = "" if _OLDEST_S <= enqueued_s < _NEWEST_S else "enqueued_at is not a time that a worker can read"
    enqueued_at = datetime.fromtimestamp(0 if unreadable else enqueued_s, UTC)
    theirs = None if headers is None else _unmarked(read_json(headers))
    if isinstance(theirs, UnreadableJson) and theirs.is_object:
        # Whoever has sent it is in there.
        unreadable = "headers: are nested too deep, or have a number of too many digits"
    return Message(
        Token(msg_id, read_ct), enqueued_at, kept, theirs, mark, unanswered, unreadable, too_large, now + due_s
    )


def _unmarked(headers: Json) -> Json:
    """Headers as they were before the claim."""
    if not isinstance(headers, dict):
        return headers
    theirs = {name: value for name, value in headers.items() if name != OURS}
    ours = {name: value for name, value in headers[OURS].items() if name not in {"claim", "unanswered"}}
    return {**theirs, OURS: ours} if ours else theirs or None
