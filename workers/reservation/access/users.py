"""Another user who is let into a reservation: by the keys that they have at GitHub, at once where the pod runs."""

from collections.abc import Sequence
from typing import Any

from pgfleet.schema.container import SECONDARY_USERS
from pgfleet.schema.reservation import WAITING, AddUser, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.inside.keys import add_keys
from pgfleet.workers.reservation.access.noting import noted
from pgfleet.workers.reservation.gang.rows import rows_of_gang
from pgfleet.workers.reservation.keys import lacks_key, warning_of
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, NeverError, Outcome, Reject, Wait

# The message itself waits for a pod that starts: nothing of the row waits for it.
LOOK_AGAIN_S = 2.0


def add(row: Row, message: AddUser, turn: Turn) -> Outcome:
    """Their name is written, for all nodes of a gang; a pod that is not made yet gets their keys with all others.

    Raises:
        TryAgainError, NotNowError: GitHub, or the cluster, can't answer now: this request is done later.
    """
    user, rows = message.github_username, rows_of_gang(row, turn.view)
    if any(_is_new(each, user) and len(each.secondary_users or ()) >= SECONDARY_USERS for each in rows):
        return Reject(f"github_username: a reservation has at most {SECONDARY_USERS} other users")
    if row.status == Status.ACTIVE:
        return _let_in(rows, message, turn)
    new = [each for each in rows if _is_new(each, user)]
    if row.status in WAITING and not new:
        return Done(f"{user} is let in already")
    if row.status in WAITING:
        told = f"{user} is let in when it starts"
        return Advance(
            tuple(Move(each, None, values={**_named(each, user), **noted(each, message, told, turn)}) for each in rows)
        )
    # Its pod may have been made without them, or with them: it is seen when it runs.
    changes = tuple(Move(each, None, values=_named(each, user)) for each in new)
    return Wait("its pod starts", turn.later(LOOK_AGAIN_S), changes)


def _is_new(row: Row, user: str) -> bool:
    return user != row.github_user and user not in (row.secondary_users or ())


def _named(row: Row, user: str) -> dict[str, Any]:
    return {"secondary_users": [*(row.secondary_users or ()), user]} if _is_new(row, user) else {}


def _let_in(rows: Sequence[Row], message: AddUser, turn: Turn) -> Outcome:
    """Into all of these pods, or it is done again: done twice, it is as done once."""
    user = message.github_username
    pods = [turn.tools.pods.find(each.pod_name) for each in rows]
    there = [pod for each, pod in zip(rows, pods, strict=True) if pod and pod.reservation_id == each.reservation_id]
    if len(there) < len(rows):
        return Wait("its pod is not there", turn.later(LOOK_AGAIN_S))
    keys = _keys(user, turn)
    for pod in there:
        turn.hold()
        add_keys(turn.tools.pods, pod, user, keys)
    told = f"{user} is let in" if keys else f"{user} has no SSH key on GitHub"
    values = [{**_named(each, user), **_warning(each, user, keys), **noted(each, message, told, turn)} for each in rows]
    return Advance(tuple(Move(each, None, values=new) for each, new in zip(rows, values, strict=True)))


def _keys(user: str, turn: Turn) -> list[str]:
    """None of somebody whom GitHub does not know: who asks reads it in the warning."""
    try:
        return turn.tools.ssh_keys.of(user)
    except NeverError:
        return []


def _warning(row: Row, user: str, keys: list[str]) -> dict[str, Any]:
    """Whom no key lets in is named; and no more once one does."""
    if not keys:
        return warning_of(row, [user])
    said = (row.warning or "").split("; ")
    left = [text for text in said if text != lacks_key([user])]
    return {"warning": "; ".join(left) or None} if left != said else {}
