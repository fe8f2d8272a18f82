"""Another user who is let into a reservation: by the keys that they have at GitHub, at once where the pod runs."""

from typing import Any

from pgfleet.schema.container import SECONDARY_USERS
from pgfleet.schema.reservation import WAITING, AddUser, Status
from pgfleet.schema.rows.row import Row
from pgfleet.workers.clients.kubernetes.inside.keys import add_keys
from pgfleet.workers.reservation.access.noting import noted
from pgfleet.workers.reservation.keys import lacks_key, warning_of
from pgfleet.workers.reservation.tools import Turn
from pgfleet.workers.runtime.outcomes import Advance, Done, Move, NeverError, Outcome, Reject, Wait

# The message itself waits for a pod that starts: nothing of the row waits for it.
LOOK_AGAIN_S = 2.0


def add(row: Row, message: AddUser, turn: Turn) -> Outcome:
    """Their name is written; a pod that is not made yet gets their keys with all others.

    Raises:
        TryAgainError, NotNowError: GitHub, or the cluster, can't answer now: this request is done later.
    """
    user, others = message.github_username, list(row.secondary_users or ())
    is_new = user != row.github_user and user not in others
    if is_new and len(others) >= SECONDARY_USERS:
        return Reject(f"github_username: a reservation has at most {SECONDARY_USERS} other users")
    named = {"secondary_users": [*others, user]} if is_new else {}
    if row.status == Status.ACTIVE:
        return _let_in(row, message, named, turn)
    if row.status in WAITING and not is_new:
        return Done(f"{user} is let in already")
    if row.status in WAITING:
        told = f"{user} is let in when it starts"
        return Advance((Move(row, None, values={**named, **noted(row, message, told, turn)}),))
    # Its pod may have been made without them, or with them: it is seen when it runs.
    changes = (Move(row, None, values=named),) if named else ()
    return Wait("its pod starts", turn.later(LOOK_AGAIN_S), changes)


def _let_in(row: Row, message: AddUser, named: dict[str, Any], turn: Turn) -> Outcome:
    user, pod = message.github_username, turn.tools.pods.find(row.pod_name)
    if pod is None or pod.reservation_id != row.reservation_id:
        return Wait("its pod is not there", turn.later(LOOK_AGAIN_S))
    keys = _keys(user, turn)
    turn.hold()
    add_keys(turn.tools.pods, pod, user, keys)
    told = f"{user} is let in" if keys else f"{user} has no SSH key on GitHub"
    values = {**named, **_warning(row, user, keys), **noted(row, message, told, turn)}
    return Advance((Move(row, None, values=values),))


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
