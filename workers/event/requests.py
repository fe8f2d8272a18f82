"""What users ask of subscriptions of their own."""

from pgfleet.schema.event import LIVE, Request, Resume, SendAgain, Status, Subscribe, Test, Unsubscribe
from pgfleet.schema.feed.known import strange
from pgfleet.schema.rows.row import Row
from pgfleet.workers.event.bodies import body_of_test
from pgfleet.workers.event.delivering import NO_BATCH, WELL
from pgfleet.workers.event.tools import Turn, look, post, webhook_id
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, Outcome, Reject
from pgfleet.workers.runtime.tickets import withdraw

# So many subscriptions of one user may be on at once.
MOST = 20


def ask(message: Request, turn: Turn) -> Outcome:
    """The answer to a request. Of another's subscription nobody learns whether there is one."""
    row = turn.view.rows.get(message.subscription_id)
    if isinstance(message, Subscribe):
        return _subscribe(message, row, turn)
    if row is None or row.user_id != message.user_id:
        return Reject(f"subscription_id: {message.user_id} has no such subscription")
    match message:
        case Unsubscribe():
            return _end(row, turn)
        case Resume():
            return _resume(row, turn)
        case Test():
            return _test(row, turn)
        case SendAgain():
            return _send_again(row, message, turn)
        case _:
            return Reject(f"{type(message).__name__} is no request of this queue")


def _subscribe(message: Subscribe, row: Row | None, turn: Turn) -> Outcome:
    """Pending -> active, from the position of when it was asked for; or off, with the reason."""
    if row is None:
        return Reject("subscription_id: no address was placed for it, by place_subscription")
    if row.user_id != message.user_id:
        return Reject("subscription_id: was used for something else")
    if row.status != Status.PENDING:
        return Done(f"known already, {row.status}")
    wanted = message.model_dump(include={"format", "machines", "states", "of_user", "row_id"})
    refusal = _refusal(row, message.machines, message.states, turn)
    if refusal is not None:
        return Reject(refusal, (Move(row, Status.OFF, refusal),))
    return withdraw(Move(row, Status.ACTIVE, "events may be sent there", wanted), look(row.subscription_id))


def _refusal(row: Row, machines: list[str] | None, states: list[str] | None, turn: Turn) -> str | None:
    """Why a subscription that is not on can't be."""
    target = turn.view.targets.get(str(row.subscription_id))
    if target is None:
        return "subscription_id: its address is not there any more"
    reach = turn.tools.webhooks.reach
    return reach.refusal(target.url) or strange(turn.view.moves, machines, states) or _too_many(row.user_id, turn)


def _too_many(user_id: str, turn: Turn) -> str | None:
    if turn.view.counted.get(user_id, 0) < MOST:
        return None
    return f"user_id: {user_id} has {MOST} subscriptions, and may have no more at once"


def _end(row: Row, turn: Turn) -> Outcome:
    if row.status == Status.OFF:
        return Done("it is off")
    return withdraw(Move(row, Status.OFF, f"ended by {turn.asked or row.user_id}", WELL))


def _resume(row: Row, turn: Turn) -> Outcome:
    """Off -> active, where it was; what is not kept any more is left out."""
    if row.status != Status.OFF:
        return Done(f"it is {row.status}")
    refusal = _refusal(row, row.machines, row.states, turn)
    if refusal is not None:
        return Reject(refusal)
    move = Move(row, Status.ACTIVE, f"asked for by {turn.asked or row.user_id}", WELL)
    return withdraw(move, look(row.subscription_id))


def _test(row: Row, turn: Turn) -> Outcome:
    """Once; what was answered is shown, and nothing else comes of it."""
    target = turn.view.targets.get(str(row.subscription_id))
    if target is None:
        return Reject("subscription_id: its address is not there any more")
    test_id = webhook_id(row, f"test {turn.msg_id}")
    answer = post(row, target, body_of_test(str(row.subscription_id), test_id, turn.now, row.format), test_id, turn)
    return Advance((Move(row, None, values={"last_answer": f"test: {answer.words}"}),))


def _send_again(row: Row, message: SendAgain, turn: Turn) -> Outcome:  # noqa: ARG001  # as the others
    if row.status not in LIVE:
        return Reject("subscription_id: it is off; resume it first")
    return withdraw(Move(row, None, values={**NO_BATCH, "delivered_to": message.after}), look(row.subscription_id))
