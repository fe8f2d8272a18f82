"""Looking for events, and delivering a batch of them: what becomes of the subscription with each answer.

idle --(a look finds events)--> a batch --(taken)--> idle, and a look
                                a batch --(not taken)--> the same again, in 1 s .. 1 h, or when it has asked for it
                                a batch --(not taken for 24 h)--> a dead letter; idle, and a look
"""

import random
from datetime import datetime, timedelta
from typing import Any

from pgfleet.schema.event import LIVE, TICKETS, Deliver, Redeliver, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.webhooks.posting import Answer
from pgfleet.workers.event.bodies import body_of
from pgfleet.workers.event.tools import Turn, look, post, webhook_id
from pgfleet.workers.event.view import Batch
from pgfleet.workers.runtime import tickets
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, Outcome, RefusedError, TryAgainError
from pgfleet.workers.runtime.tickets import withdraw

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 3600.0
# For so long one batch is tried, and for so long a subscription may fail.
BATCH_LIMIT, FAILING_LIMIT = timedelta(hours=24), timedelta(days=3)
# A batch that is over.
NO_BATCH: dict[str, Any] = {
    "batch_to": None,
    "batch_events": None,
    "batch_failures": 0,
    "batch_failing_since": None,
    "next_try_at": None,
}
WELL: dict[str, Any] = {**NO_BATCH, "failing_since": None, "detail": None}


def look_at(row: Row | None, batch: Batch | None) -> Outcome:
    """An idle subscription gets its next batch, if there is one. What is not wanted is gone past."""
    if row is None or row.status not in LIVE:
        return Done("no such subscription that is on")
    if batch is None:
        return Done("a batch is under way: the look after it will see")
    if batch.begin is not None:
        lost = f"what came after {batch.after} is not kept any more; begun anew at {batch.begin}"
        moved = Move(row, None, values={"delivered_to": str(batch.begin), "detail": lost})
        return Advance((moved,), (look(row.subscription_id),))
    if batch.events:
        its = {"delivered_to": str(batch.after), "batch_to": str(batch.to), "batch_events": len(batch.events)}
        begun = Move(row, None, values=its)
        return tickets.hand_out(TICKETS, begun, after=str(batch.after), to=str(batch.to))
    then = (look(row.subscription_id),) if batch.has_more else ()
    if str(batch.to) == row.delivered_to:
        return Done("nothing new", then)
    return Advance((Move(row, None, values={"delivered_to": str(batch.to)}),), then)


def deliver(message: Deliver, turn: Turn) -> Outcome:
    """One try at the batch of a subscription; a ticket that is not the row's is stale."""
    row, batch = turn.view.rows.get(message.subscription_id), turn.view.batches.get(message)
    if row is not None and row.status == Status.PENDING:
        return withdraw(Move(row, Status.OFF, "its message is lost: subscribe once more"))
    if row is None or batch is None:
        return Done("a stale ticket")
    target = turn.view.targets.get(message.subscription_id)
    if target is None:
        return withdraw(Move(row, Status.OFF, "its address is not there any more", NO_BATCH))
    if batch.begin is not None or not batch.events:
        # Of rows that are gone, or not its user's to see any more.
        return _on(row, {**NO_BATCH, "delivered_to": row.batch_to})
    answer = post(row, target, body_of(batch.events, row.format), webhook_id(row, row.batch_to), turn)
    if answer.is_taken:
        return _taken(row, answer, turn)
    if answer.is_gone:
        values = {**NO_BATCH, "failing_since": row.failing_since or turn.now, "last_answer": answer.words}
        return withdraw(Move(row, Status.OFF, "answered 410: it wants no more events", values))
    return _not_taken(row, answer, turn)


def _taken(row: Row, answer: Answer, turn: Turn) -> Outcome:
    told = {"delivered_to": row.batch_to, "last_delivered_at": turn.now, "last_answer": answer.words}
    return _on(row, {**WELL, **told}, Status.ACTIVE if row.status == Status.FAILING else None)


def _on(row: Row, values: dict[str, Any], to: str | None = None) -> Advance:
    """Past the batch, in one commit; whatever has come meanwhile is seen by the look after it."""
    reason = "a batch was taken" if to is not None else None
    return withdraw(Move(row, to, reason, values), look(row.subscription_id))


def _not_taken(row: Row, answer: Answer, turn: Turn) -> Outcome:
    failing_since = row.failing_since or turn.now
    if turn.now - failing_since >= FAILING_LIMIT:
        reason = f"switched off: no delivery was taken for three days; the last was answered: {answer.words}"
        return withdraw(Move(row, Status.OFF, reason, {**NO_BATCH, "last_answer": answer.words, "detail": reason}))
    batch_since = row.batch_failing_since or turn.now
    if turn.now - batch_since >= BATCH_LIMIT:
        raise RefusedError(f"not taken for 24 hours; the last answer: {answer.words}")
    until = turn.later(pause_s(row.batch_failures, answer.after_s))
    values = {
        "failing_since": failing_since,
        "batch_failing_since": batch_since,
        "batch_failures": row.batch_failures + 1,
        "next_try_at": until,
        "last_answer": answer.words,
        "detail": _next_try(answer, until),
    }
    to = Status.FAILING if row.status == Status.ACTIVE else None
    move = Move(row, to, f"a delivery was not taken: {answer.words}" if to else None, values)
    return tickets.hand_out(TICKETS, move, until, after=row.delivered_to, to=row.batch_to)


def pause_s(failures: int, asked_s: float | None = None) -> float:
    """Twice as long after each failure, from a second to an hour, with jitter; as long as was asked for, if longer."""
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 20))
    # What failed together is not tried together.
    return max(pause_s * random.uniform(0.75, 1.25), min(asked_s or 0, LONGEST_PAUSE_S))  # noqa: S311  # no secret


def _next_try(answer: Answer, until: datetime) -> str:
    return f"not taken: {answer.words}; tried again at {until:%Y-%m-%d %H:%M:%S}"


def give_up(row: Row) -> Advance | None:
    """Its batch becomes a dead letter: on with the next, while it fails on."""
    if row.status not in LIVE or row.batch_to is None:
        return None
    return _on(row, {**NO_BATCH, "delivered_to": row.batch_to})


def redeliver(message: Redeliver, turn: Turn) -> Outcome:
    """A dead letter once more, which changes nothing of its subscription."""
    row, batch = turn.view.rows.get(message.subscription_id), turn.view.batches.get(message)
    target = turn.view.targets.get(message.subscription_id)
    if row is None or target is None or batch is None:
        return Done("no such subscription")
    if not batch.events:
        return Done("none of its events is there any more")
    answer = post(row, target, body_of(batch.events, row.format), webhook_id(row, message.to), turn)
    if not answer.is_taken:
        raise TryAgainError(f"a batch was not taken: {answer.words}")
    return Done("taken")
