"""What is noted of a request in the commit that does it."""

from typing import Any

from pgfleet.schema.printable import printable
from pgfleet.schema.reservation import Request
from pgfleet.schema.rows.row import Row
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import Done, Outcome, Reject

# As many of the last ones as its column holds (037).
REQUESTS_KEPT = 50


def noted(row: Row, message: Request, told: str, turn: Turn) -> dict[str, Any]:
    """The column with what was asked and done; `told` is for people."""
    given = {} if message.request_id is None else {"request_id": message.request_id}
    by = another(row, turn) or message.user_id
    done = {"action": message.asks, "by": by, "at": turn.now.isoformat(), "told": told, **given}
    done |= {"content": message.content} if given else {}
    return {"requests_done": [*row.requests_done, done][-REQUESTS_KEPT:]}


def repeated(row: Row, message: Request) -> Outcome | None:
    """The answer to a request that has come before: a client that got no answer sends it again. None to a new one."""
    before = message.noted_in(row.requests_done)
    if before is None:
        return None
    if message.is_as(before):
        return Done(f"done already, as request {message.request_id}")
    return Reject(
        f"request_id: {message.request_id} was used for another {message.asks} ({before['told']}); choose another"
    )


def another(row: Row, turn: Turn) -> str | None:
    """Who asks, where that is not the reservation's own user; a service that speaks for them is they."""
    who = turn.asked
    return None if who is None or who.by == row.user_id else printable(who)
